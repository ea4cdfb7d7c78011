//! The figures of the server's view.

use super::browser::Tab;
use crate::server_support::server;

/// Packets are counted with RTCP reports, which are 7 s apart at most: 350 every 7 s in each direction here.
const COUNTED_WITH_REPORTS: &str = "
    const ask = window.fetch;
    window.fetch = async (url, ...more) => {
      const answer = await ask(url, ...more);
      if (!String(url).endsWith('metrics')) return answer;
      const counted = 350 * Math.floor(performance.now() / 7000);
      const text = (await answer.text()).replace(/^(b2b_media_packets_total\\{.*\\}) .*/gm, `$1 ${counted}`);
      return new Response(text, { status: answer.status });
    };";

#[test]
#[ignore = "needs chromium; .ci/run installs it"]
fn interop_page_never_shows_a_packet_rate_of_zero_while_packets_flow() {
    let mut tab = Tab::new();
    let server = server("");
    tab.before_each(COUNTED_WITH_REPORTS);
    tab.open(&format!("http://{}/#server", server.http));
    let rate = "[...document.querySelectorAll('dl.facts div')].find((it) => it.querySelector('dt').innerText === 'RTP') \
                .querySelector('dd').innerText";
    assert_eq!(tab.until("the figures", rate), "…", "there is no rate yet");
    tab.value(&format!(
        "window.rates = []; setInterval(() => {{ if (rates.at(-1) !== {rate}) rates.push({rate}); }}, 100)"
    ));
    // The page asks every 3 s; the span of the rate grows meanwhile.
    let asked =
        "performance.getEntriesByType('resource').filter((it) => it.name.endsWith('/metrics')).length";
    tab.until("some more figures", &format!("{asked} >= 7"));
    let rates = tab.value("rates.filter((it) => it !== '…')");
    let rates: Vec<&str> = rates.as_array().expect("a list").iter().filter_map(|it| it.as_str()).collect();
    let number = |rate: &str| rate.strip_suffix(" packets/s both ways")?.parse::<f64>().ok();
    assert!(!rates.is_empty() && rates.iter().all(|rate| number(rate) > Some(40.0)), "{rates:?}");
    tab.is_sound();
}
