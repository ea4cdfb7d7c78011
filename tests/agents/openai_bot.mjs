// Twilio's Media Streams by the transport of OpenAI's agents SDK, for Node.  usage: openai_bot.mjs PORT REALTIME_PORT
import { RealtimeAgent, RealtimeSession } from '@openai/agents/realtime';
import { TwilioRealtimeTransportLayer } from '@openai/agents-extensions';
import { WebSocketServer } from 'ws';

const [port, realtime] = process.argv.slice(2);
new WebSocketServer({ host: '127.0.0.1', port }).on('connection', async (twilioWebSocket) => {
  const transport = new TwilioRealtimeTransportLayer({ twilioWebSocket });
  const session = new RealtimeSession(new RealtimeAgent({ name: 'bot' }), { transport, tracingDisabled: true });
  const wrong = (what) => console.log('WRONG:', what);
  session.on('error', ({ error }) => wrong(JSON.stringify(error)));
  session.on('transport_event', ({ type, message }) => {
    if (type !== 'twilio_message' || message.event !== 'dtmf') return;
    session.sendMessage(message.dtmf.digit);
    if (message.dtmf.digit === '#') setTimeout(() => twilioWebSocket.close(1000), 100);
  });
  await session.connect({ apiKey: 'none', url: `ws://127.0.0.1:${realtime}/` }).catch(wrong);
});
