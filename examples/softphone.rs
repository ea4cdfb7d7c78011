//! A phone in a terminal: calls, or answers, with the devices of this machine, and prints events. A line of digits
//! sends them as DTMF, an empty line hangs up.
//!
//! `cargo run --example softphone` waits for a call; `cargo run --example softphone -- sip:bob@127.0.0.1:5070` makes
//! one; with an account, `cargo run --example softphone -- 1001 PASSWORD 127.0.0.1 [1002]`, it registers first. Other
//! users of this machine can see arguments: beyond a trial, a program should read its password from a file. Without
//! `arecord` and `aplay` (or the feature `devices`) the call is silent on this side.

use b2b::client::{CallState, ClientEvent, Devices, RecoveryStep, SipClient};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    if Devices::default_of_system().is_none() {
        println!("no sound devices: install alsa-utils, or build with --features devices");
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (user, account, server, rest) = match &arguments[..] {
        [user, password, server, rest @ ..] => (&user[..], Some(password), &server[..], rest),
        rest => ("alice", None, "127.0.0.1", rest),
    };
    let mut builder = SipClient::builder().softphone().levels(false).identity(format!("sip:{user}@{server}"));
    if let Some(password) = account {
        builder = builder.registrar(format!("sip:{server}")).credentials(user, password);
    }
    let client = builder.build()?;
    if account.is_some() {
        client.register().await?;
        println!("registered");
    }
    let call = match rest.first() {
        Some(number) if !number.contains(':') => client.call(format!("sip:{number}@{server}")).await?,
        Some(target) => client.call(target).await?,
        None => {
            let mut incoming = client.incoming().await?;
            println!("call {}", client.uri().unwrap_or_default());
            let ringing = incoming.next().await.ok_or("the client has stopped")?;
            println!("{} calls", ringing.from());
            ringing.answer().await?
        }
    };

    let mut events = call.events();
    let (keys, mut typed) = tokio::sync::mpsc::unbounded_channel();
    // The end of a pipe is not a key.
    std::thread::spawn(move || {
        std::io::stdin().lines().map_while(Result::ok).all(|line| keys.send(line).is_ok())
    });
    let at_keys = call.clone();
    tokio::spawn(async move {
        while let Some(line) = typed.recv().await {
            let done = match line.trim() {
                "" => at_keys.hangup().await,
                digits => at_keys.send_digits(digits, None).await,
            };
            if let Err(error) = done {
                println!("{error}");
            }
        }
    });

    // What was agreed before is no event.
    let agreed = call.agreed().map(|agreed| format!("{}, {} ms a packet", agreed.codec, agreed.ptime_ms));
    println!("{:?} {}", call.state(), agreed.unwrap_or_default());
    while let Some(event) = events.next().await {
        match event {
            ClientEvent::State { state: CallState::Ended(cause), .. } => println!("ended: {cause}"),
            ClientEvent::State { state, .. } => println!("{state:?}"),
            ClientEvent::Agreed { codec, ptime_ms, .. } => println!("{codec}, {ptime_ms} ms a packet"),
            ClientEvent::Held { held, .. } => {
                println!("{}", if held { "we are held" } else { "we are back" })
            }
            ClientEvent::Digit { digit, .. } => println!("digit {digit}"),
            ClientEvent::Quality { quality, last, .. } => {
                let when = if last { "in all" } else { "now" };
                let mos = quality.mos.map_or_else(|| "-".to_owned(), |mos| format!("{mos:.2}"));
                let rtt = quality.rtt_ms.map_or_else(|| "-".to_owned(), |rtt| format!("{rtt:.0} ms"));
                let level =
                    quality.heard_dbfs.map_or_else(|| "silent".to_owned(), |level| format!("{level:.0} dB"));
                let (loss, jitter) = (quality.loss_pct, quality.jitter_ms);
                println!(
                    "{when}: MOS {mos}, loss {loss:.1} %, jitter {jitter:.1} ms, round trip {rtt}, {level}"
                );
            }
            ClientEvent::Recovery { step, .. } => match step {
                RecoveryStep::Silent { .. } => println!("nothing comes any more; the call waits"),
                RecoveryStep::Back { after } => println!("back after {:.1} s", after.as_secs_f64()),
                step => println!("loss: {step:?}"),
            },
            ClientEvent::Device { side, problem: Some(problem), works, .. } => {
                let then = if works { "the default one is used" } else { "there is none to use" };
                println!("{side:?}: {problem}; {then}");
            }
            ClientEvent::Device { side, device, .. } => {
                println!("{side:?}: {} is used", device.as_deref().unwrap_or("the default one"));
            }
            _ => {}
        }
    }
    Ok(())
}
