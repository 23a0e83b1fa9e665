// The sound of a new alarm. Browsers allow it only after a person has clicked on the page.

let context = null;

export const canSound = () => context !== null && context.state === "running";

// Allowed without a new click where the page before this one had one.
export function wake() {
  context ??= new AudioContext();
}

export async function unlock() {
  wake();
  await context.resume();
  tone(660, 0, 0.12); // so that the dispatcher hears that it works
}

export function alert() {
  if (!canSound()) return;
  for (let n = 0; n < 3; n += 1) {
    tone(880, n * 0.5, 0.2);
    tone(660, n * 0.5 + 0.22, 0.2);
  }
}

function tone(hertz, after, seconds) {
  const start = context.currentTime + after;
  const source = new OscillatorNode(context, { type: "triangle", frequency: hertz });
  const volume = new GainNode(context, { gain: 0 });
  volume.gain.setValueAtTime(0, start);
  volume.gain.linearRampToValueAtTime(0.5, start + 0.02);
  volume.gain.linearRampToValueAtTime(0, start + seconds);
  source.connect(volume).connect(context.destination);
  source.start(start);
  source.stop(start + seconds);
}
