"""Kamailio's configuration and start: as an edge before phones (Path), as a registrar with a dispatcher, or as one of
several servers with the same name."""

import subprocess
from pathlib import Path

from world import SERVER, SERVER6, Gone

ADDRESS, LAST = "10.9.1.30", 30
FOLDERS = (
    "/usr/lib/x86_64-linux-gnu/kamailio/modules/",
    "/usr/lib/kamailio/modules/",
    "/usr/lib/aarch64-linux-gnu/kamailio/modules/",
)
MODULES = "tm tmx sl rr pv maxfwd usrloc registrar textops siputils xlog path nathelper dispatcher kex corex auth"
HEAD = """#!KAMAILIO
debug=2
log_stderror=yes
fork=yes
children=2
tcp_children=2
auto_aliases=no
listen=udp:{at}:5060
listen=tcp:{at}:5060
listen=udp:[{six}]:5060
alias="kamailio.test"
alias="trunk.test"
mpath="{modules}"
{load}
modparam("rr","enable_full_lr",0)
modparam("rr","append_fromtag",1)
modparam("path","use_received",1)
modparam("usrloc","db_mode",0)
modparam("registrar","use_path",1)
modparam("nathelper|registrar","received_avp","$avp(received)")
modparam("registrar","path_mode",0)
modparam("dispatcher","list_file","{folder}/dispatcher.list")
modparam("dispatcher","ds_ping_interval",5)
modparam("dispatcher","ds_probing_mode",1)
modparam("tm","fr_timer",5000)
modparam("tm","fr_inv_timer",40000)
request_route {{
  if (!mf_process_maxfwd_header("10")) {{ sl_send_reply("483","Too Many Hops"); exit; }}
  if (is_method("OPTIONS") && uri==myself) {{ sl_send_reply("200","OK"); exit; }}
  if (has_totag()) {{
    if (loose_route()) {{ t_relay(); exit; }}
    if (is_method("ACK")) {{ if (t_check_trans()) t_relay(); exit; }}
    sl_send_reply("404","Not here"); exit;
  }}
  if (is_method("CANCEL")) {{ if (t_check_trans()) t_relay(); exit; }}
  t_check_trans();
"""
EDGE = """
  if (is_method("REGISTER")) { add_path_received(); $du = "sip:10.9.0.1:5060"; t_relay(); exit; }
  record_route();
  # From b2b to a phone: the Route that Path has left.
  if ($si=="10.9.0.1") { loose_route(); t_relay(); exit; }
  remove_hf("Route");
  $du = "sip:10.9.0.1:5060"; t_relay(); exit;
}
"""
# Phones behind the NAT of the run are reached at the source of their packets.
REGISTRAR = """
  if ($si=="10.9.3.2") {
    force_rport();
    if (is_method("REGISTER")) fix_nated_register(); else fix_nated_contact();
  }
  t_on_reply("1");
  if (is_method("REGISTER")) {
    if ($tU=="kamtrunk") {
      if (!pv_www_authenticate("$td","right-horse-kam","0")) { www_challenge("$td","0"); exit; }
    }
    if (!save("location")) sl_reply_error();
    exit;
  }
  record_route();
  if ($si=="10.9.0.1" || $si=="fd09::1") {
    if (!lookup("location")) { sl_send_reply("404","Not Found"); exit; }
    t_relay(); exit;
  }
  if (!ds_select_dst("1","4")) { sl_send_reply("503","No destination"); exit; }
  t_relay(); exit;
}
onreply_route[1] { if ($si=="10.9.3.2") fix_nated_contact(); }
"""
# One of a set: its Record-Route has the common name, so that each of them can get the next request.
MEMBER = """
  record_route_preset("trunk.test");
  if ($si=="10.9.0.1") $du = "sip:10.9.1.51:5060"; else $du = "sip:10.9.0.1:5060";
  t_relay(); exit;
}
"""


def modules():
    return next((it for it in FOLDERS if Path(it, "tm.so").exists()), None)


def start(case, body, last=LAST):
    """With this end of its configuration, at this address of the peers."""
    folder = _folder(case, last)
    to = f"[{SERVER6}]" if case.scenario.startswith("ipv6") else SERVER
    (folder / "dispatcher.list").write_text(f"1 sip:{to}:5060\n")
    load = "\n".join(f'loadmodule "{it}.so"' for it in MODULES.split())
    return start_with(case, HEAD.format(at=case.world.address("peers", last), six=case.world.address("peers", last, six=True), modules=modules(), load=load, folder=folder) + body, last)


def _folder(case, last):
    folder = case.folder / f"kamailio-{last}"
    folder.mkdir(exist_ok=True)
    return folder


def start_with(case, text, last=LAST):
    """With this configuration."""
    folder = _folder(case, last)
    config = folder / "kamailio.cfg"
    config.write_text(text)
    process = case.world.start(
        case.world.host("peers", last),
        ["kamailio", "-f", config, "-Y", folder, "-P", folder / "pid", "-DD", "-E", "-m", "32", "-M", "4"],
        case.folder / f"kamailio-{last}.log",
        cwd=folder,
    )
    check = ["nsenter", f"--net=/run/netns/{case.world.space(f'peers-{last}')}", "ss", "-ltnH", "sport = :5060"]
    for _ in range(100):
        if subprocess.run(check, capture_output=True, text=True, check=False).stdout.strip():
            return process
        if not process.alive():
            break
        case.pause(0.1)
    raise Gone(f"Kamailio did not start: {process.text[-300:]}")


def before(case):
    """An edge proxy before phones; phones are configured with it."""
    start(case, EDGE)
    return f"sip:{ADDRESS}:5060"
