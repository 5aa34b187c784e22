// The page: what the visitor chooses goes to the server, what the server says goes on the screen.

import { Camera } from './camera.js';
import { Chart } from './charts.js';
import { Link } from './link.js';
import { Stage } from './stage.js';
import { hintOf, swatchOf, titleOf } from './words.js';

const byId = id => document.getElementById(id);
const stage = new Stage();
const whole = value => String(Math.round(value));
const seconds = ms => (ms < 1000 ? `${whole(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);
const charts = {
  fps: new Chart('chart-fps', { least: 30, format: value => value.toFixed(value < 10 ? 1 : 0) }),
  age: new Chart('chart-age', { least: 60, format: whole }),
  flicker: new Chart('chart-flicker', { least: 2, format: value => value.toFixed(1) }),
  keyframes: new Chart('chart-keyframes', { least: 100, format: whole }),
  celsius: new Chart('chart-celsius', { least: 60, format: whole }),
};
const known = { bundles: [], bundle: '', steady: '' };
let requests = 0;
let ages = [];
let lastAge = NaN;
let lastImage = 0;

const link = new Link({
  up() { if (camera.on) link.say({ type: 'camera', on: true }); },
  down() {
    state('lost', 'no connection');
    stage.notice('No connection to the server', 'It is tried again.');
  },
  message(message) { handlers[message.type]?.(message); },
  async image(head, blobs) {
    try {
      await stage.show(blobs);
    } finally {
      link.say({ type: 'ack', number: head.number });
    }
    lastImage = performance.now();
    // Of one's own camera, the browser's clock knows the age; else the server tells what the last image took to us.
    const age = head.stamp_ms == null ? head.seen_ms : performance.now() - head.stamp_ms;
    if (age != null) ages.push(age);
    byId('now-size').textContent = `${head.size[0]} × ${head.size[1]}`;
  },
});
const camera = new Camera(link);

const handlers = {
  welcome(message) {
    about(message);
    history(message.history);
    byId('version').textContent = `Steadyframe ${message.version}`;
  },
  camera(message) {
    about(message);
    stage.notice(message.on ? 'Your camera' : '', message.on ? 'The first image is on its way.' : '');
  },
  taken() { camera.taken(); },
  switched(message) {
    about(message);
    busy(false);
    stage.toast(`${titleOf(message.bundle)}, steadying ${message.steady}, after ${seconds(message.took_ms)}`);
  },
  refused(message) {
    busy(false);
    mark();
    if (message.camera === false) useServer();
    stage.toast(message.reason, true);
  },
  stats(stats) {
    if (ages.length) lastAge = ages.reduce((sum, each) => sum + each, 0) / ages.length;
    else if (performance.now() - lastImage > 3000) lastAge = NaN;
    ages = [];
    charts.fps.add(stats.fps);
    charts.age.add(lastAge);
    charts.flicker.add(stats.flicker);
    charts.keyframes.add(stats.keyframes === null ? NaN : stats.keyframes * 100);
    byId('chart-celsius').hidden = stats.celsius === null;
    if (stats.celsius !== null) charts.celsius.add(stats.celsius);
    byId('viewers').textContent = stats.clients === 1 ? '1 viewer' : `${stats.clients} viewers`;
    if (stats.bundle !== known.bundle || stats.steady !== known.steady) {
      Object.assign(known, { bundle: stats.bundle, steady: stats.steady }); // another visitor has switched
      if (!document.body.classList.contains('busy')) mark();
    }
    signal(stats);
  },
};

function signal(stats) {
  const silent = performance.now() - lastImage > 2500;
  const good = stats.signal === 'LIVE' && !stats.trouble;
  if (good && !silent) {
    state('live', 'live');
    stage.notice('', '');
    return;
  }
  const name = stats.signal.toLowerCase().replaceAll('_', ' ');
  state(good ? 'wait' : 'lost', good ? 'waiting' : name);
  if (!good) stage.notice(name === 'live' ? 'No images' : name[0].toUpperCase() + name.slice(1), stats.trouble);
  else if (lastImage) stage.notice('Waiting', camera.on ? 'No image of your camera arrives.' : 'The source gives no image.');
}

function state(kind, text) {
  byId('state').dataset.state = kind;
  byId('state-text').textContent = text;
}

function about(message) {
  const names = message.bundles.map(each => each.name).join();
  const changed = names !== known.bundles.map(each => each.name).join();
  Object.assign(known, { bundles: message.bundles, bundle: message.bundle, steady: message.steady });
  if (changed) build(message);
  byId('source').textContent = message.source === 'browser' ? 'your camera' : message.source;
  byId('now-device').textContent = [message.device, message.precision].filter(Boolean).join(', ');
  const problem = Camera.problem();
  document.querySelector('[value=browser]').disabled = Boolean(problem) || message.cameras === 0;
  byId('camera-hint').textContent = message.cameras === 0 ? 'This server takes no cameras of browsers.' : problem;
  mark();
}

function history(figures) {
  charts.fps.fill(figures.map(each => each.fps));
  charts.flicker.fill(figures.map(each => each.flicker));
  charts.keyframes.fill(figures.map(each => (each.keyframes === null ? NaN : each.keyframes * 100)));
  charts.celsius.fill(figures.map(each => each.celsius));
}

function build(message) {
  byId('choices').replaceChildren(...message.bundles.map(({ name, task }) => {
    const label = radio('bundle', name);
    const body = document.createElement('div');
    body.className = 'choice';
    const text = document.createElement('span');
    const small = document.createElement('small');
    text.append(titleOf(name), small);
    small.textContent = hintOf(name, task);
    const swatch = document.createElement('i');
    swatch.append(swatchOf(name, task));
    body.append(swatch, text, document.createElement('em'));
    label.append(body);
    return label;
  }));
  byId('modes').replaceChildren(...message.steady_modes.map(mode => {
    const label = radio('steady', mode);
    const text = document.createElement('span');
    text.textContent = mode;
    label.append(text);
    return label;
  }));
}

function radio(name, value) {
  const label = document.createElement('label');
  const input = document.createElement('input');
  Object.assign(input, { type: 'radio', name, value });
  input.addEventListener('change', choose);
  label.append(input);
  return label;
}

const taskOf = bundle => known.bundles.find(each => each.name === bundle)?.task;
const chosen = name => document.querySelector(`[name=${name}]:checked`)?.value;

function mark() {
  for (const name of ['bundle', 'steady']) {
    for (const input of document.querySelectorAll(`[name=${name}]`)) input.checked = input.value === known[name];
  }
  const people = taskOf(known.bundle) === 'pose';
  byId('chart-flicker').querySelector('h2').textContent = people ? 'Jitter of joints' : 'Flicker';
  byId('chart-flicker').querySelector('p span').textContent = people ? 'px' : 'of 255';
  byId('tag-after').textContent = titleOf(known.bundle);
  byId('tag-before').textContent = taskOf(known.bundle) === 'colorize' ? 'Grey input' : 'Camera';
  byId('mode-hint').textContent = {
    auto: 'What suits the network.', off: 'Every frame by itself.', blend: 'Every frame, blended along the motion.',
    keyframe: 'Some frames; between them the result follows the motion.',
  }[known.steady] ?? '';
}

function choose() {
  busy(true);
  link.say({ type: 'switch', id: ++requests, bundle: chosen('bundle'), steady: chosen('steady') ?? 'auto' });
}

function busy(on) { document.body.classList.toggle('busy', on); }

function useServer() {
  camera.stop();
  document.querySelector('[name=camera][value=server]').checked = true;
}

for (const input of document.querySelectorAll('[name=camera]')) {
  input.addEventListener('change', async () => {
    if (input.value === 'server') {
      camera.stop();
      link.say({ type: 'camera', on: false });
      return;
    }
    try {
      await camera.start();
      link.say({ type: 'camera', on: true });
    } catch (error) {
      useServer();
      stage.toast(error.name === 'NotAllowedError' ? 'The browser was not allowed to use the camera.' : error.message, true);
    }
  });
}

function compare() {
  stage.compare(!stage.comparing);
  link.look({ before: stage.comparing });
}
const full = () => (document.fullscreenElement ? document.exitFullscreen() : byId('frame').requestFullscreen?.());
const save = () => stage.save(`${known.bundle}.png`);
byId('compare').addEventListener('click', compare);
byId('snap').addEventListener('click', save);
byId('full').addEventListener('click', full);
addEventListener('keydown', event => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches('input')) return;
  ({ b: compare, s: save, f: full })[event.key.toLowerCase()]?.();
});
addEventListener('resize', () => stage.placeSplit());
document.addEventListener('visibilitychange', () => link.look({ images: !document.hidden }));
