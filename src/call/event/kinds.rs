//! Every event, as one enum.

use super::*;

/// An event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// A call changed its state.
    CallState {
        /// The call.
        call: CallId,
        /// The previous state.
        from: CallState,
        /// The new state.
        to: CallState,
        /// The event that changed it.
        event: CallEvent,
    },
    /// A state machine got an event that is illegal in its state.
    IllegalEvent {
        /// The call; `None`: no call.
        call: Option<CallId>,
        /// The state machine, its state and the event, as text.
        what: String,
    },
    /// A leg was adopted (inbound) or created (outbound).
    LegCreated {
        /// The call.
        call: CallId,
        /// The leg.
        leg: LegId,
        /// Inbound: the party called; outbound: b2b called.
        direction: CallDirection,
        /// URI of the party: From of its INVITE, or the dialled URI.
        peer: String,
        /// The gateway that it is dialled through; `None`: no gateway.
        gateway: Option<String>,
        /// The user of the phone; `None`: no user.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<String>,
        /// Inbound: where its INVITE came from.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "schema", schema(value_type = Option<String>))]
        source: Option<SocketAddr>,
        /// Inbound: the number called.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        called: Option<String>,
    },
    /// A leg changed its state.
    LegState {
        /// The call.
        call: CallId,
        /// The leg.
        leg: LegId,
        /// The previous state.
        from: LegState,
        /// The new state.
        to: LegState,
        /// Why it ended; `None`: it has not ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cause: Option<TerminationCause>,
    },
    /// A caller gets a final response that is no answer.
    CallRefused(CallRefused),
    /// Two legs were joined.
    BridgeCreated {
        /// The call.
        call: CallId,
        /// The bridge.
        bridge: BridgeId,
        /// The first leg.
        a: LegId,
        /// The second leg.
        b: LegId,
        /// How it handles requests within the call.
        mode: BridgeMode,
    },
    /// A bridge changed its state.
    BridgeState {
        /// The call.
        call: CallId,
        /// The bridge.
        bridge: BridgeId,
        /// The previous state.
        from: BridgeState,
        /// The new state.
        to: BridgeState,
        /// The party that has put the other one on hold.
        held_by: HeldBy,
    },
    /// A party put the other one on hold, or resumed it.
    Hold {
        /// The call.
        call: CallId,
        /// The leg of the party that holds.
        leg: LegId,
        /// True: on hold; false: resumed.
        held: bool,
    },
    /// A program put a party on hold, or resumed it.
    OnHold {
        /// The call.
        call: CallId,
        /// The leg of the party on hold.
        leg: LegId,
        /// True: on hold; false: resumed.
        on: bool,
    },
    /// A target was looked up.
    Lookup {
        /// The call; `None`: no call.
        call: Option<CallId>,
        /// The target as requested.
        target: String,
        /// The kind of the target.
        kind: LookupKind,
        /// The number of its contacts.
        contacts: usize,
    },
    /// A target could not be looked up.
    LookupFailed {
        /// The call; `None`: no call.
        call: Option<CallId>,
        /// The target as requested.
        target: String,
        /// The resulting SIP status.
        status: u16,
        /// The reason, as text.
        error: String,
    },
    /// An INVITE is sent to a contact.
    Dialling {
        /// The call.
        call: CallId,
        /// The new leg.
        leg: LegId,
        /// The contact's URI.
        uri: String,
        /// The gateway that it is sent through; `None`: no gateway.
        gateway: Option<String>,
    },
    /// An emergency call is sent to a gateway.
    EmergencyCall(EmergencyCall),
    /// A contact did not answer the call.
    DialFailed {
        /// The call.
        call: CallId,
        /// The leg.
        leg: LegId,
        /// The final status, 300 to 699; also 408 for no response and 503 for a transport failure.
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
    /// A 3xx response is followed to another contact.
    Redirected {
        /// The call.
        call: CallId,
        /// The leg that got the 3xx.
        leg: LegId,
        /// The Contact URI that is followed.
        to: String,
    },
    /// A party named a destination that it may not direct b2b to; no request was sent there.
    NotFollowed {
        /// The call.
        call: CallId,
        /// The leg of that party.
        leg: LegId,
        /// `user/1001`, `gateway/carrier` …; empty: unknown.
        party: String,
        /// `redirect`, `refer`, `transfer` (of an agent or a program) or `replaces`.
        way: String,
        /// The destination.
        to: String,
        /// The reason, as text.
        why: String,
        /// The line of configuration that would allow it; `None`: none can.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        line: Option<String>,
    },
    /// Route or Contact of a dialog is not an address of the party itself: requests are sent there, or by the
    /// flow of the party instead.
    NextHop(NextHop),
    /// A party (REFER) or an application requested a transfer.
    TransferRequested {
        /// The call.
        call: CallId,
        /// The leg of the party that requested it.
        leg: LegId,
        /// Blind or attended.
        kind: TransferKind,
        /// The Refer-To URI, or the application's target.
        target: String,
    },
    /// The latest status of the transfer target.
    TransferProgress {
        /// The call.
        call: CallId,
        /// The leg of the party that requested it.
        leg: LegId,
        /// A provisional SIP status.
        status: u16,
    },
    /// A transfer ended: a 2xx is success, any other status is failure.
    TransferEnded {
        /// The call.
        call: CallId,
        /// The leg of the party that requested it.
        leg: LegId,
        /// The final SIP status.
        status: u16,
    },
    /// A binding was added or refreshed.
    Registered {
        /// Address-of-record.
        aor: String,
        /// The contact's URI.
        contact: String,
        /// The expiry of the binding, in s.
        expires_s: u32,
        /// The source of the REGISTER; `None`: unknown.
        #[cfg_attr(feature = "schema", schema(value_type = Option<String>))]
        source: Option<SocketAddr>,
    },
    /// A binding was removed.
    Unregistered {
        /// Address-of-record.
        aor: String,
        /// The contact's URI.
        contact: String,
        /// `true`: it expired; `false`: it was removed.
        expired: bool,
        /// `true`: it gave way to another contact of its user; `false`: it was unregistered, or expired.
        evicted: bool,
    },
    /// The registration of this server at a gateway changed.
    GatewayRegistration {
        /// The gateway's name.
        gateway: String,
        /// Whether it is registered.
        registered: bool,
        /// Status of the last response; `None`: no response.
        status: Option<u16>,
        /// The result of the last attempt, as text.
        reason: String,
    },
    /// A host of a gateway went up or down.
    GatewayHealth {
        /// The gateway's name.
        gateway: String,
        /// The host, as in the configuration; empty: all hosts, since too few calls succeed.
        host: String,
        /// Whether it responds, or calls succeed.
        up: bool,
        /// The reason, as text.
        reason: String,
    },
    /// A request had wrong credentials, or none where they are required.
    AuthenticationFailed {
        /// The source of the request.
        #[cfg_attr(feature = "schema", schema(value_type = String))]
        source: IpAddr,
        /// The user that it claims.
        user: String,
        /// The method of the request.
        method: String,
    },
    /// Requests of a source are refused for a time.
    Banned {
        /// The refused source.
        #[cfg_attr(feature = "schema", schema(value_type = String))]
        source: IpAddr,
        /// The duration, in s.
        for_s: u64,
        /// The reason, as text.
        reason: String,
    },
    /// A REGISTER came through a proxy that is not configured: Path and further Vias are ignored.
    ProxyNotNamed {
        /// The source of the request: the proxy.
        #[cfg_attr(feature = "schema", schema(value_type = String))]
        source: IpAddr,
        /// The user that it registers.
        user: String,
    },
    /// A leg negotiated its media.
    MediaNegotiated {
        /// The call.
        call: CallId,
        /// The leg.
        leg: LegId,
        /// Encoding name of `a=rtpmap`.
        codec: String,
        /// The destination of RTP.
        #[cfg_attr(feature = "schema", schema(value_type = String))]
        remote: SocketAddr,
        /// Whether the audio is transcoded for the other leg.
        transcoded: bool,
    },
    /// The first RTP packet of the party arrived.
    MediaStarted {
        /// The call.
        call: CallId,
        /// The leg.
        leg: LegId,
        /// The packet's source.
        #[cfg_attr(feature = "schema", schema(value_type = String))]
        from: SocketAddr,
    },
    /// The source address of the party's RTP changed.
    MediaSourceChanged {
        /// The call.
        call: CallId,
        /// The leg.
        leg: LegId,
        /// The previous source.
        #[cfg_attr(feature = "schema", schema(value_type = String))]
        from: SocketAddr,
        /// The new source.
        #[cfg_attr(feature = "schema", schema(value_type = String))]
        to: SocketAddr,
    },
    /// RTP arrives, but none of it from an accepted address.
    MediaRefused(MediaRefused),
    /// No RTP goes to the signalled address of the party: it may not name it, or none has ever come from there.
    MediaWithheld {
        /// The call.
        call: CallId,
        /// The leg.
        leg: LegId,
        /// The address in the party's session description.
        #[cfg_attr(feature = "schema", schema(value_type = String))]
        to: SocketAddr,
    },
    /// The party's SRTP restarts its numbers under the same key and SSRC, and is dropped.
    MediaReplayed {
        /// The call.
        call: CallId,
        /// The leg.
        leg: LegId,
    },
    /// No RTP arrived for too long.
    MediaTimeout {
        /// The call.
        call: CallId,
        /// The leg.
        leg: LegId,
        /// For how long, in ms.
        silent_ms: u64,
    },
    /// A digit was received; without the digit if it belongs to a PIN.
    Digit {
        /// The call.
        call: CallId,
        /// The leg.
        leg: LegId,
        /// `0-9 * # A-D`; `None`: secret.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        digit: Option<char>,
        /// Its duration, in ms.
        duration_ms: u32,
        /// The method: RFC 4733, INFO or tone.
        by: DigitBy,
    },
    /// Media quality of a leg; counters since its start.
    Quality {
        /// The call.
        call: CallId,
        /// The leg.
        leg: LegId,
        /// The numbers.
        quality: Quality,
    },
    /// The verdict on a call's media; published only if there was a problem.
    Verdict {
        /// The call.
        call: CallId,
        /// The worst cause in one word, otherwise the verdict on the audio.
        cause: String,
        /// The verdict, as text.
        text: String,
    },
    /// A recording started, or its file is complete: of the call, or of one leg.
    Recording(RecordingNews),
    /// A prompt started or ended.
    Playback(Playback),
    /// A party sent an INFO that is not a digit.
    Info(InfoSaid),
    /// A handler received the call.
    HandlerStarted {
        /// The call.
        call: CallId,
        /// Name of the handler.
        handler: String,
    },
    /// A handler released the call.
    HandlerEnded {
        /// The call.
        call: CallId,
        /// Name of the handler.
        handler: String,
        /// Its decision, in one word.
        action: String,
    },
    /// A handler panicked, timed out or failed; its call ends.
    HandlerFailed {
        /// The call.
        call: CallId,
        /// Name of the handler.
        handler: String,
        /// The error, as text.
        error: String,
    },
    /// An event of an application.
    Application {
        /// The call; `None`: no call.
        call: Option<CallId>,
        /// Name of the application.
        app: String,
        /// The application's name of the event.
        name: String,
        /// The data of the event.
        data: serde_json::Value,
    },
    /// A command of a program completed.
    CommandCompleted {
        /// The id that the program got for the command.
        id: String,
        /// The command's name.
        command: String,
        /// The call; `None`: no call.
        call: Option<CallId>,
        /// Its result; depends on the command.
        result: serde_json::Value,
    },
    /// A command of a program failed.
    CommandFailed {
        /// The id that the program got for the command.
        id: String,
        /// The command's name.
        command: String,
        /// The call; `None`: no call.
        call: Option<CallId>,
        /// The reason in one word, for programs.
        reason: String,
        /// The error, as text.
        error: String,
        /// The SIP status; `None`: no party refused.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<u16>,
    },
    /// A listener is open.
    Listening {
        /// `udp`, `tcp` or `tls`.
        transport: String,
        /// Address and port.
        #[cfg_attr(feature = "schema", schema(value_type = String))]
        address: SocketAddr,
    },
    /// The public address of a listener changed (STUN).
    AddressSeen(AddressSeen),
    /// A new configuration took effect, or was refused.
    Reloaded {
        /// The error; `None`: it took effect.
        error: Option<String>,
    },
    /// The server is draining and accepts no new calls.
    Draining {
        /// Remaining calls.
        calls: usize,
    },
    /// An overload started or ended.
    Overload {
        /// True: it started; false: it ended.
        on: bool,
        /// The overloaded resource, as text.
        reason: String,
    },
    /// An error that an operator should look at.
    Error {
        /// The component, in one word.
        component: String,
        /// The error, as text.
        message: String,
    },
}
