// A voice agent: says back what a caller has said once they are silent, until they interrupt, and ends the call at #.
// usage: node voice_agent.mjs [PORT]     (9000)
// Needs `ws` (npm install ws). b2b calls it with url = "ws://127.0.0.1:9000/". See docs/voice-agents.md.
import { WebSocketServer } from 'ws';

const LOUD = 500;                       // RMS of speech, of 32768
const TURN_MS = 600;                    // silence that ends a turn

function isLoud(audio) {
  let sum = 0;
  for (let at = 0; at + 1 < audio.length; at += 2) sum += audio.readInt16LE(at) ** 2;
  return Math.sqrt((2 * sum) / audio.length) > LOUD;
}

function talk(socket) {
  const send = (message) => socket.send(JSON.stringify(message));
  let frameMs = 20, said = [], silentMs = 0, marks = 0, played = 0;
  const hear = (audio) => {
    if (isLoud(audio)) {
      if (played < marks) send({ type: 'clear' });      // they interrupt; the mark comes back, not played
      said.push(audio);
      silentMs = 0;
    } else if (said.length) {
      said.push(audio);
      silentMs += frameMs;
      if (silentMs >= TURN_MS) {
        socket.send(Buffer.concat(said));               // as fast as it likes: b2b plays it in time
        send({ type: 'mark', name: `turn ${++marks}` });
        said = [];
      }
    }
  };
  const messages = {
    start: ({ caller, format }) => {
      frameMs = format.frame_ms;
      console.log(`a call of ${caller}, ${format.rate_hz} Hz`);
    },
    mark: ({ name, played: heard }) => {
      played += 1;
      console.log(`${name}: ${heard ? 'heard to its end' : 'interrupted'}`);
    },
    dtmf: ({ digit }) => digit === '#' && send({ type: 'stop' }),
    stop: ({ reason }) => console.log(`the end: ${reason}`),
  };
  socket.on('message', (data, isBinary) => {
    if (isBinary) return hear(data);
    const message = JSON.parse(data);
    messages[message.type]?.(message);
  });
}

const port = Number(process.argv[2] ?? 9000);
new WebSocketServer({ host: '127.0.0.1', port }).on('connection', talk)
  .on('listening', () => console.log(`READY ws://127.0.0.1:${port}/`));
