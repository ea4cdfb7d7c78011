//! Everything that may happen, as one enum.

use super::*;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// A call moved in `call_fsm`.
    CallState {
        /// The call.
        call: CallId,
        /// The state before.
        from: CallState,
        /// The state from now on.
        to: CallState,
        /// What moved it.
        event: CallEvent,
    },
    /// A machine got an event that it has no place for.
    IllegalEvent {
        /// The call; `None`: it belongs to none.
        call: Option<CallId>,
        /// The machine, its state and the event, for people.
        what: String,
    },
    /// A leg was adopted (inbound) or created (outbound).
    LegCreated {
        /// The call.
        call: CallId,
        /// The leg.
        leg: LegId,
        /// Who called: the party (inbound) or b2b (outbound).
        direction: CallDirection,
        /// URI of the other party: From of its INVITE, or what is dialled.
        peer: String,
        /// The gateway that it is dialled through; `None`: through none.
        gateway: Option<String>,
        /// The user whose phone it is; `None`: no user's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<String>,
    },
    /// A leg moved in `leg_fsm`.
    LegState {
        /// The call.
        call: CallId,
        /// The leg.
        leg: LegId,
        /// The state before.
        from: LegState,
        /// The state from now on.
        to: LegState,
        /// Why it ended; `None`: it has not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cause: Option<TerminationCause>,
    },
    /// Two legs belong together from now on.
    BridgeCreated {
        /// The call.
        call: CallId,
        /// The bridge.
        bridge: BridgeId,
        /// The first leg.
        a: LegId,
        /// The second leg.
        b: LegId,
        /// What it does with requests inside the call.
        mode: BridgeMode,
    },
    /// A bridge moved in `bridge_fsm`.
    BridgeState {
        /// The call.
        call: CallId,
        /// The bridge.
        bridge: BridgeId,
        /// The state before.
        from: BridgeState,
        /// The state from now on.
        to: BridgeState,
        /// Which party holds the other.
        held_by: HeldBy,
    },
    /// A party holds (or held and holds no more) the other.
    Hold {
        /// The call.
        call: CallId,
        /// The leg of who holds.
        leg: LegId,
        /// Whether the other one is held from now on.
        held: bool,
    },
    /// A program has put a party on hold, or takes it back.
    OnHold {
        /// The call.
        call: CallId,
        /// The leg of who waits.
        leg: LegId,
        /// Whether it is on hold from now on.
        on: bool,
    },
    /// A target was looked up.
    Lookup {
        /// The call; `None`: it belongs to none.
        call: Option<CallId>,
        /// The target as it was asked for.
        target: String,
        /// What it turned out to be.
        kind: LookupKind,
        /// How many contacts it has.
        contacts: usize,
    },
    /// It could not be.
    LookupFailed {
        /// The call; `None`: it belongs to none.
        call: Option<CallId>,
        /// The target as it was asked for.
        target: String,
        /// The SIP status that this comes to.
        status: u16,
        /// Why, for people.
        error: String,
    },
    /// An INVITE goes to a contact.
    Dialling {
        /// The call.
        call: CallId,
        /// The new leg.
        leg: LegId,
        /// The contact's URI.
        uri: String,
        /// The gateway that it goes through; `None`: through none.
        gateway: Option<String>,
    },
    /// An emergency call goes to a gateway.
    EmergencyCall(EmergencyCall),
    /// A contact did not take the call.
    DialFailed {
        /// The call.
        call: CallId,
        /// The leg.
        leg: LegId,
        /// The final status, 300 to 699; 408 and 503 also stand for no response and no transport.
        status: u16,
        /// The reason phrase.
        reason: String,
        /// Whether another contact is tried.
        next: bool,
    },
    /// One of several contacts answered; the others were cancelled.
    DialWon {
        /// The call.
        call: CallId,
        /// The leg that answered.
        leg: LegId,
        /// How many others were cancelled.
        cancelled: usize,
    },
    /// 3xx: the call goes on to another contact.
    Redirected {
        /// The call.
        call: CallId,
        /// The leg that was answered with 3xx.
        leg: LegId,
        /// The URI of Contact that is followed.
        to: String,
    },
    /// A party names a place that it may not lead us to: nobody went there.
    NotFollowed {
        /// The call.
        call: CallId,
        /// The leg of who names the place.
        leg: LegId,
        /// `user/1001`, `gateway/carrier` …; empty: nobody who is known.
        party: String,
        /// `redirect`, `refer` or `replaces`.
        way: String,
        /// The place that was named.
        to: String,
        /// Why not, for people.
        why: String,
        /// The line of configuration that would allow it; `None`: nothing would.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        line: Option<String>,
    },
    /// Route or Contact in a dialog leads elsewhere than to the party itself: there all the
    /// same, or by the flow that the party came by instead.
    NextHop(NextHop),
    /// REFER came, or an application wants it.
    TransferRequested {
        /// The call.
        call: CallId,
        /// The leg of who asks.
        leg: LegId,
        /// Blind or attended.
        kind: TransferKind,
        /// The URI of Refer-To, or the target that an application names.
        target: String,
    },
    /// The target's latest status.
    TransferProgress {
        /// The call.
        call: CallId,
        /// The leg of who asked.
        leg: LegId,
        /// A provisional SIP status.
        status: u16,
    },
    /// It is over: 2xx for good, anything else for bad.
    TransferEnded {
        /// The call.
        call: CallId,
        /// The leg of who asked.
        leg: LegId,
        /// The final SIP status.
        status: u16,
    },
    /// A binding is new or refreshed.
    Registered {
        /// Address-of-record.
        aor: String,
        /// The contact's URI.
        contact: String,
        /// How long the binding lasts, in s.
        expires_s: u32,
        /// Where the REGISTER came from; `None`: not known.
        #[cfg_attr(feature = "schema", schema(value_type = Option<String>))]
        source: Option<SocketAddr>,
    },
    /// A binding is gone.
    Unregistered {
        /// Address-of-record.
        aor: String,
        /// The contact's URI.
        contact: String,
        /// `true`: it was not refreshed; `false`: it was taken back.
        expired: bool,
    },
    /// Our registration at a provider.
    GatewayRegistration {
        /// The gateway's name.
        gateway: String,
        /// Whether it is in force.
        registered: bool,
        /// Status of the last response; `None`: there was none.
        status: Option<u16>,
        /// What the last attempt came to, for people.
        reason: String,
    },
    /// A host of a provider answers, or does not any more.
    GatewayHealth {
        /// The gateway's name.
        gateway: String,
        /// The host, as the configuration has it; empty: all, since too few calls get through.
        host: String,
        /// Whether it answers, or calls get through.
        up: bool,
        /// Why it is thought so, for people.
        reason: String,
    },
    /// A wrong password, or none where one is needed.
    AuthenticationFailed {
        /// Where the request came from.
        #[cfg_attr(feature = "schema", schema(value_type = String))]
        source: IpAddr,
        /// The user that it claims.
        user: String,
        /// The method of the request.
        method: String,
    },
    /// A source is refused for a time.
    Banned {
        /// Whose requests are refused.
        #[cfg_attr(feature = "schema", schema(value_type = String))]
        source: IpAddr,
        /// For how long, in s.
        for_s: u64,
        /// Why, for people.
        reason: String,
    },
    /// A REGISTER has passed a proxy that is not named: Path and further Vias do not count.
    ProxyNotNamed {
        /// Where the request came from: the proxy.
        #[cfg_attr(feature = "schema", schema(value_type = String))]
        source: IpAddr,
        /// The user that it registers.
        user: String,
    },
    /// What a leg agreed on.
    MediaNegotiated {
        /// The call.
        call: CallId,
        /// The leg.
        leg: LegId,
        /// Encoding name of `a=rtpmap`.
        codec: String,
        /// Where RTP is sent to.
        #[cfg_attr(feature = "schema", schema(value_type = String))]
        remote: SocketAddr,
        /// Whether audio is decoded and encoded on its way to the other leg.
        transcoded: bool,
    },
    /// The first packet came from the party.
    MediaStarted {
        /// The call.
        call: CallId,
        /// The leg.
        leg: LegId,
        /// The packet's source.
        #[cfg_attr(feature = "schema", schema(value_type = String))]
        from: SocketAddr,
    },
    /// Packets come from another address than before.
    MediaSourceChanged {
        /// The call.
        call: CallId,
        /// The leg.
        leg: LegId,
        /// The source until now.
        #[cfg_attr(feature = "schema", schema(value_type = String))]
        from: SocketAddr,
        /// The source from now on.
        #[cfg_attr(feature = "schema", schema(value_type = String))]
        to: SocketAddr,
    },
    /// Packets come, and none of them from an address that may be believed.
    MediaRefused(MediaRefused),
    /// No more is sent to where the party said that it receives: nothing has ever come from there.
    MediaWithheld {
        /// The call.
        call: CallId,
        /// The leg.
        leg: LegId,
        /// The address of the party's description.
        #[cfg_attr(feature = "schema", schema(value_type = String))]
        to: SocketAddr,
    },
    /// Nothing came for too long.
    MediaTimeout {
        /// The call.
        call: CallId,
        /// The leg.
        leg: LegId,
        /// For how long, in ms.
        silent_ms: u64,
    },
    /// A digit; none: it is a secret, of a PIN.
    Digit {
        /// The call.
        call: CallId,
        /// The leg.
        leg: LegId,
        /// `0-9 * # A-D`; `None`: it is a secret.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        digit: Option<char>,
        /// How long it was pressed, in ms.
        duration_ms: u32,
        /// How it came.
        by: DigitBy,
    },
    /// How a leg's media fares; counts since its start.
    Quality {
        /// The call.
        call: CallId,
        /// The leg.
        leg: LegId,
        /// The numbers.
        quality: Quality,
    },
    /// What was wrong with a call's media, in words; nothing is published of a good one.
    Verdict {
        /// The call.
        call: CallId,
        /// The worst cause in a word, or the verdict on the audio without one.
        cause: String,
        /// The whole verdict, for people.
        text: String,
    },
    /// A recording has begun, or its file is complete: of the whole call, or of one leg.
    Recording(RecordingNews),
    /// A prompt begins, or has ended.
    Playback(Playback),
    /// A party says something by INFO that is no digit.
    Info(InfoSaid),
    /// A handler got the call.
    HandlerStarted {
        /// The call.
        call: CallId,
        /// Name of the handler.
        handler: String,
    },
    /// A handler is done with it.
    HandlerEnded {
        /// The call.
        call: CallId,
        /// Name of the handler.
        handler: String,
        /// What it wants done, in a word.
        action: String,
    },
    /// A handler panicked, hung or failed; its call ends.
    HandlerFailed {
        /// The call.
        call: CallId,
        /// Name of the handler.
        handler: String,
        /// What it came to, for people.
        error: String,
    },
    /// An application's own news.
    Application {
        /// The call; `None`: it belongs to none.
        call: Option<CallId>,
        /// Name of the application.
        app: String,
        /// What happened, by the application's name for it.
        name: String,
        /// What goes with that name.
        data: serde_json::Value,
    },
    /// A command of a program is done, as it wanted.
    CommandCompleted {
        /// As the program was told when it gave the command.
        id: String,
        /// The command's name.
        command: String,
        /// The call; `None`: it belongs to none.
        call: Option<CallId>,
        /// What came of it; depends on the command.
        result: serde_json::Value,
    },
    /// A command of a program is over and not done.
    CommandFailed {
        /// As the program was told when it gave the command.
        id: String,
        /// The command's name.
        command: String,
        /// The call; `None`: it belongs to none.
        call: Option<CallId>,
        /// One word, for programs.
        reason: String,
        /// More, for people.
        error: String,
        /// The SIP status; `None`: no party has refused.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<u16>,
    },
    /// Listening.
    Listening {
        /// `udp`, `tcp` or `tls`.
        transport: String,
        /// Address and port.
        #[cfg_attr(feature = "schema", schema(value_type = String))]
        address: SocketAddr,
    },
    /// The outside sees a listener by another address than before (STUN).
    AddressSeen(AddressSeen),
    /// A new configuration is in force, or was refused.
    Reloaded {
        /// What is wrong with it; `None`: it is in force.
        error: Option<String>,
    },
    /// No new calls are taken.
    Draining {
        /// Calls that are left.
        calls: usize,
    },
    /// Too much to do: since when is in `time`, over when `on` is false.
    Overload {
        /// Whether it begins.
        on: bool,
        /// What there is too much of, for people.
        reason: String,
    },
    /// Something that an operator has to look at.
    Error {
        /// Where, in a word.
        component: String,
        /// What, for people.
        message: String,
    },
}
