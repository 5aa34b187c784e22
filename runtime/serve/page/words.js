// Names, one-line descriptions and swatches of the networks; a bundle that is not listed gets its own name and hue.

const KNOWN = {
  colorize: ['Colorize', 'grey to color'],
  pose: ['Pose', 'people, joints'],
  'stylize-wave': ['Wave', 'Hokusai'],
  'stylize-scream': ['Scream', 'Munch'],
  'stylize-udnie': ['Udnie', 'Picabia'],
  'stylize-wreck': ['Shipwreck', 'Turner'],
};

const TASKS = { colorize: 'grey to color', pose: 'people, joints', stylize: 'style', custom: 'custom network' };

// Ground, then strokes from back to front: [color, path, width]; drawn in a square of 44.
const SWATCHES = {
  colorize: ['#3b3f46', [['#e2574c', 'M24 0v44h7V0z'], ['#f0b429', 'M30 0v44h7V0z'], ['#3aa76d', 'M36 0v44h8V0z'],
    ['#9aa0a8', 'M0 30l9-12 8 9 5-5v22H0z'], ['#f7f3e8', 'M10 10a4 4 0 108 0 4 4 0 10-8 0']]],
  pose: ['#17202b', [['#45d6a8', 'M22 14v13', 3], ['#ff8a3d', 'M22 17l-9 7M22 17l9-6', 3],
    ['#6aa8ff', 'M22 27l-7 11M22 27l7 11', 3], ['#fff', 'M18 9a4 4 0 108 0 4 4 0 10-8 0']]],
  'stylize-wave': ['#e9dfc6', [['#23466b', 'M0 44V26c8-13 19-19 30-13-7 1-11 6-10 12 4 8 13 9 24 6v13z'],
    ['#f6efdd', 'M8 24c5-8 12-11 19-10', 2.5], ['#5f8fb4', 'M0 37c9-4 17 3 25 1s12-4 19-2', 2.5]]],
  'stylize-scream': ['#d9642b', [['#f0a23c', 'M0 8c12 6 28-5 44 2', 4], ['#b53a23', 'M0 17c13 6 29-5 44 3', 4],
    ['#24455e', 'M0 44V30c14-6 24 4 44-4v18z'], ['#e9c98d', 'M20 24c0-4 5-4 5 0 0 3-1 4-1 9h-3c0-5-1-6-1-9z']]],
  'stylize-udnie': ['#b9b0a0', [['#4a4640', 'M0 0h18l-8 22 12 22H0z'], ['#e6dfcf', 'M18 0h14l-6 18-12 8z'],
    ['#8b5a3c', 'M32 0h12v20L26 30z'], ['#2b2a28', 'M26 30l18-10v24H20z']]],
  'stylize-wreck': ['#a89a7c', [['#5a6a6c', 'M0 44V30c10-8 18 4 28-3s10-4 16-2v19z'],
    ['#f1e6c4', 'M0 12c12-7 26-2 44-8v9C28 17 12 12 0 21z'], ['#3b3630', 'M14 29l9-17 2 15 8-3-5 9z']]],
};

const SVG = 'http://www.w3.org/2000/svg';

export const titleOf = name => KNOWN[name]?.[0] ?? name;
export const hintOf = (name, task) => KNOWN[name]?.[1] ?? TASKS[task] ?? task;

export function swatchOf(name, task) {
  const hue = [...name].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) % 360, 7);
  const [ground, strokes] = SWATCHES[name] ?? SWATCHES[task]
    ?? [`hsl(${hue} 45% 40%)`, [[`hsl(${hue + 40} 60% 62%)`, 'M0 44L44 8v36z']]];
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', '0 0 44 44');
  svg.setAttribute('preserveAspectRatio', task === 'pose' ? 'xMidYMid meet' : 'xMidYMid slice');
  svg.style.background = ground;
  const add = (kind, attributes) => {
    const part = document.createElementNS(SVG, kind);
    for (const [key, value] of Object.entries(attributes)) part.setAttribute(key, value);
    svg.append(part);
  };
  add('rect', { width: 44, height: 44, fill: ground, stroke: 'none' });
  for (const [color, d, width] of strokes) {
    add('path', width ? { d, stroke: color, 'stroke-width': width } : { d, fill: color, stroke: 'none' });
  }
  return svg;
}
