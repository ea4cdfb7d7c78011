"""Asterisk's configuration: its files, and the differences between scenarios."""

from server import DOMAIN, password
from world import SERVER, SERVER6

PHONE = "10.9.1.51"
MAIN = """[directories]
astetcdir => /mnt/etc
astmoddir => /usr/lib/{triplet}/asterisk/modules
astvarlibdir => /var/lib/asterisk
astdbdir => /mnt/db
astkeydir => /var/lib/asterisk
astdatadir => /usr/share/asterisk
astagidir => /usr/share/asterisk/agi-bin
astspooldir => /mnt/spool
astrundir => /mnt/run
astlogdir => /mnt/log
[options]
verbose = 3
"""
# Its actions when called as 1001, and the other side of its own calls (`DOES@apps`).
EXTENSIONS = """[globals]
DOES=tone
[from-b2b]
exten => 1001,1,Goto(apps,${DOES},1)
exten => 1011,1,Goto(apps,ring,1)
exten => _3XXXX,1,Dial(PJSIP/${EXTEN:1}@b2b,30)
[from-phone]
exten => _X.,1,Dial(PJSIP/${EXTEN}@b2b,30)
[apps]
exten => tone,1,Answer()
 same => n,MixMonitor(/mnt/both.wav,r(/mnt/heard.wav))
 same => n,Playtones(440)
 same => n,Wait(90)
exten => ring,1,Ringing()
 same => n,Wait(30)
exten => busy,1,Ringing()
 same => n,Wait(1)
 same => n,Busy(1)
exten => early,1,Progress()
 same => n,Playtones(523)
 same => n,Wait(3)
 same => n,StopPlaytones()
 same => n,Goto(tone,1)
exten => digits,1,Answer()
 same => n,Playtones(440)
 same => n,Wait(2)
 same => n,SendDTMF(159)
 same => n,Playtones(440)
 same => n,Wait(30)
exten => redirect,1,Transfer(PJSIP/sip:1003@10.9.0.1)
exten => connected,1,Answer()
 same => n,Set(CONNECTEDLINE(name-charset,i)=utf8)
 same => n,Set(CONNECTEDLINE(name,i)=Erika)
 same => n,Set(CONNECTEDLINE(num-pres,i)=allowed)
 same => n,Set(CONNECTEDLINE(num)=7777)
 same => n,Goto(tone,1)
exten => transfer,1,Answer()
 same => n,Playtones(440)
 same => n,Wait(2)
 same => n,Transfer(PJSIP/sip:1003@10.9.0.1)
 same => n,Wait(5)
"""
TRANSPORTS = """[global]
type=global
endpoint_identifier_order=auth_username,username,ip
[udp]
type=transport
protocol=udp
bind=0.0.0.0:5060
[tcp]
type=transport
protocol=tcp
bind=0.0.0.0:5060
[tls]
type=transport
protocol=tls
bind=0.0.0.0:5061
cert_file=/mnt/tls/cert.pem
priv_key_file=/mnt/tls/key.pem
ca_list_file=/mnt/tls/ca.pem
method=tlsv1_2
verify_server=yes
[udp6]
type=transport
protocol=udp
bind=[::]:5060
"""
# Per scenario: the actions of the extensions.
DOES = {
    "transfer-by-peer": "transfer",
    "dtmf-in": "digits",
    "info-in": "digits",
    "inband-in": "digits",
    "early-out": "early",
    "prack-out": "early",
    "busy-out": "busy",
    "cancel-of-peer": "ring",
    "redirect-out": "redirect",
    "connected-line": "connected",
}
# Per scenario: options of the endpoint.
OPTIONS = {
    "info-in": {"dtmf_mode": "info"},
    **{it: {"dtmf_mode": "inband"} for it in ("inband-in", "inband-out")},
    "info-out": {"dtmf_mode": "info"},
    "prack-in": {"100rel": "required"},
    "prack-out": {"100rel": "required"},
    "direct": {"direct_media": "yes"},
    "hold-by-peer": {"moh_passthrough": "yes"},
}
SRTP = {
    None: {},
    "srtp": {"media_encryption": "sdes", "media_encryption_optimistic": "yes"},
    "srtp-mand": {"media_encryption": "sdes"},
}


def endpoint(transport, allow, six, options, register):
    """pjsip.conf: b2b as a trunk by its address."""
    keys = {
        "transport": "udp6" if six else transport,
        "context": "from-b2b",
        "disallow": "all",
        "allow": allow,
        "aors": "b2b",
        "send_pai": "yes",
        "trust_id_outbound": "yes",
        "direct_media": "no",
        "timers": "yes",
        "rtp_symmetric": "yes",
        **options,
    }
    if six:
        keys["rtp_ipv6"] = "yes"
    host = f"[{SERVER6}]" if six else SERVER
    contact = f"sip:{host}:5061\\;transport=tls" if transport == "tls" else f"sip:{host}:5060\\;transport={transport}"
    text = TRANSPORTS + "[b2b]\ntype=endpoint\n" + "".join(f"{key}={it}\n" for key, it in keys.items())
    text += (
        f"[b2b]\ntype=aor\ncontact={contact}\n[b2b]\ntype=identify\nendpoint=b2b\nmatch={SERVER6 if six else SERVER}\n"
    )
    # b2b registers here with a password.
    text += (
        "[trunk]\ntype=endpoint\ncontext=from-b2b\ndisallow=all\nallow=ulaw\nauth=trunk\naors=trunk\n"
        "[trunk]\ntype=auth\nauth_type=digest\nusername=trunk\npassword=right-horse-trunk\n"
        "[trunk]\ntype=aor\nmax_contacts=2\n"
    )
    # Its own phone, without a password.
    text += (
        f"[phone]\ntype=endpoint\ncontext=from-phone\ndisallow=all\nallow={allow}\ndirect_media=no\n"
        f"[phone]\ntype=identify\nendpoint=phone\nmatch={PHONE}\n"
    )
    if register:
        text += (
            f"[reg]\ntype=registration\ntransport={transport}\noutbound_auth=reg\nserver_uri={contact}\n"
            f"client_uri=sip:1001@{DOMAIN}\ncontact_user=1001\nretry_interval=2\nexpiration=120\n"
            f"[reg]\ntype=auth\nauth_type=digest\nusername=1001\npassword={password('1001')}\n"
        )
    return text
