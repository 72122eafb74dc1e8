// The page of a reader study. It knows cases by number alone: what they are is nowhere in what it can ask for.
import { DRAG_MODE, Niivue, SLICE_TYPE } from './niivue.js';

const WINDOWS = { abdomen: [-160, 240], liver: [10, 170], wide: [-200, 400] }; // lowest and highest HU
const LAYOUTS = [
  [[SLICE_TYPE.AXIAL, [0, 0, 0.64, 1]], [SLICE_TYPE.CORONAL, [0.64, 0, 0.36, 0.5]],
    [SLICE_TYPE.SAGITTAL, [0.64, 0.5, 0.36, 0.5]]],
  [[SLICE_TYPE.AXIAL, [0, 0, 1, 1]]],
  [[SLICE_TYPE.CORONAL, [0, 0, 1, 1]]],
  [[SLICE_TYPE.SAGITTAL, [0, 0, 1, 1]]],
];
const CROSSHAIR_MM = 0.6;
const COLUMNS = ['case', 'answer', 'confidence', 'x_mm', 'y_mm', 'z_mm', 'seconds', 'answered_at'];
const CONFIDENCE = { q: '1', w: '2', e: '3' };
const ANSWERS = { 1: 'real', 2: 'synthetic', 3: 'unsure' };
const WINDOW_KEYS = { a: 'abdomen', s: 'liver', d: 'wide' };

const $ = (id) => document.getElementById(id);
const chosen = (name) => document.querySelector(`input[name=${name}]:checked`)?.value ?? null;
const SCREENS = ['welcome', 'reading', 'done'];

// Where answers are kept: with the program that serves this page, or, of a copy on some web server, in this browser.

const withTheServer = {
  async given(reader) {
    return read(await fetch(`answers/${encodeURIComponent(reader)}`));
  },
  async keep(reader, answer) {
    await read(await fetch(`answers/${encodeURIComponent(reader)}`, {
      method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(answer),
    }));
  },
};

const inThisBrowser = {
  key: (reader) => `tumorgen-turing/${study.id}/${reader}`,
  async given(reader) {
    return JSON.parse(localStorage.getItem(this.key(reader)) ?? '[]');
  },
  async keep(reader, answer) {
    const given = await this.given(reader);
    given.push({ ...answer, answered_at: new Date().toISOString().replace(/\.\d+Z$/, 'Z') });
    localStorage.setItem(this.key(reader), JSON.stringify(given));
  },
};

async function read(response) {
  const told = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(told.error ?? `the server says ${response.status}`);
  return told;
}

function csv(answers) {
  const cells = (answer) => [answer.case, answer.answer, answer.confidence, ...(answer.place_mm ?? [null, null, null]),
    answer.seconds, answer.answered_at].map((value) => value ?? '').join(',');
  return `${[COLUMNS.join(','), ...answers.map(cells)].join('\n')}\n`;
}

// The time that a case is looked at: not while paused, nor while the window is hidden.

const clock = {
  spent: 0, since: null,
  reset() { this.spent = 0; this.since = null; },
  run() { this.since ??= performance.now(); },
  stop() { this.spent += this.since === null ? 0 : performance.now() - this.since; this.since = null; },
  get seconds() { return (this.spent + (this.since === null ? 0 : performance.now() - this.since)) / 1000; },
};

let study, store, nv;
let reader = '', order = [], given = new Map(), at = 0; // of who reads: the cases, the answers that count, the case shown
let place = null, layout = 0, saving = false, ready = false, paused = false;
let ahead = { case: '', voxels: null };

function show(screen) {
  for (const id of SCREENS) $(id).hidden = id !== screen;
}

// Cases

function fetchCase(name) {
  if (ahead.case !== name) {
    const voxels = fetch(`cases/${name}.nii`).then((response) => {
      if (!response.ok) throw new Error(`case ${name} cannot be loaded (${response.status})`);
      return response.arrayBuffer();
    });
    voxels.catch(() => { ahead = { case: '', voxels: null }; }); // so that it is asked for again
    ahead = { case: name, voxels };
  }
  return ahead.voxels;
}

function coverView() {
  ready = false;
  clock.stop();
  $('loading').textContent = 'Loading …';
  $('loading').hidden = false;
}

async function showCase(index) {
  at = index;
  const name = order[at];
  const before = given.get(name);
  coverView();
  clock.reset();
  choose('answer', before?.answer ?? null);
  choose('confidence', before?.confidence?.toString() ?? null);
  setPlace(before?.place_mm ?? null);
  tell();
  try {
    const voxels = await fetchCase(name);
    if (order[at] !== name) return;
    while (nv.volumes.length) nv.removeVolumeByIndex(0);
    await nv.loadFromArrayBuffer(voxels, 'case.nii');
  } catch (error) {
    $('loading').textContent = `${error.message}. Reload this page to try again.`;
    return;
  }
  const [x, y, z] = study.starts_mm[name];
  nv.scene.crosshairPos = nv.mm2frac([-x, -y, z]); // NiiVue has RAS
  nv.scene.pan2Dxyzmm = [0, 0, 0, 1];
  showWindow();
  nv.createOnLocationChange();
  $('loading').hidden = true;
  ready = true;
  if (!paused && !document.hidden) clock.run();
  const next = order[at + 1];
  if (next) fetchCase(next);
}

function showWindow() {
  if (!nv.volumes.length) return;
  [nv.volumes[0].cal_min, nv.volumes[0].cal_max] = WINDOWS[chosen('window')];
  nv.updateGLVolume();
}

function showPlanes() {
  nv.setCustomLayout(LAYOUTS[layout].map(([sliceType, position]) => ({ sliceType, position })));
}

function tell() {
  const done = order.filter((name) => given.has(name)).length;
  $('place').textContent = `${reader}: case ${at + 1} of ${order.length}`;
  $('ct').setAttribute('aria-label', `CT of case ${at + 1} of ${order.length}, in three planes`);
  $('progress').max = order.length;
  $('progress').value = done;
  $('progress').textContent = `${done} of ${order.length}`;
  $('back').disabled = at === 0;
  $('problem').textContent = '';
}

// Answers

function choose(name, value) {
  for (const input of document.querySelectorAll(`input[name=${name}]`)) input.checked = input.value === value;
  if (name === 'answer') {
    $('confidence').disabled = value === 'unsure';
    if (value === 'unsure') choose('confidence', null);
  }
}

function setPlace(point) {
  place = point;
  const [x, y, z] = point ?? [];
  $('marked').textContent = point
    ? `Marked at ${x}, ${y}, ${z} mm from the middle. Press M again elsewhere to move the mark.`
    : 'Optional: click on it in the image, then press M, or double-click.';
}

function mark() {
  if (!ready) return;
  const [right, anterior, superior] = nv.frac2mm(nv.scene.crosshairPos);
  setPlace([-right, -anterior, superior].map((value) => Math.round(value * 10) / 10 || 0)); // LPS
}

async function next() {
  if (!ready || saving) return;
  const answer = { case: order[at], answer: chosen('answer'), confidence: chosen('confidence'), place_mm: place };
  if (!answer.answer) return complain('Say real (1), synthetic (2) or unsure (3).');
  if (answer.answer !== 'unsure' && !answer.confidence) return complain('Say how sure you are: Q, W or E.');
  answer.confidence = answer.confidence && Number(answer.confidence);
  answer.seconds = Math.round(clock.seconds * 100) / 100;
  saving = true;
  try {
    await store.keep(reader, answer);
  } catch (error) {
    return complain(`Not kept: ${error.message}. Press Enter to try again.`);
  } finally {
    saving = false;
  }
  given.set(answer.case, answer);
  const following = [...order.keys()].filter((n) => !given.has(order[n]));
  const to = following.find((n) => n > at) ?? following[0];
  if (to === undefined) finish();
  else await showCase(to);
}

function complain(what) {
  $('problem').textContent = what;
}

function complainHere(error) {
  $('nothing').textContent = `The study cannot be shown: ${error.message}.`;
  $('nothing').hidden = false;
}

function finish() {
  clock.stop();
  ready = false;
  $('finished').textContent = reader;
  for (const id of ['sending', 'download']) $(id).hidden = store !== inThisBrowser;
  show('done');
}

async function download(who) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([csv(await store.given(who))], { type: 'text/csv' }));
  link.download = `${who}.csv`;
  link.click();
  URL.revokeObjectURL(link.href);
}

// Beginning, pause, end

async function welcome() {
  clock.stop();
  ready = false;
  setPaused(false);
  show('welcome');
  const names = Object.keys(study.readers);
  $('count').textContent = study.readers[names[0]].length;
  const rows = [];
  for (const name of names) {
    const cases = new Set((await store.given(name)).map((answer) => answer.case));
    const total = study.readers[name].length;
    const button = element('button', { type: 'button', className: 'reader' });
    button.append(element('span', { textContent: name }), element('span', {
      textContent: cases.size === 0 ? `${total} cases` : cases.size < total ? `${cases.size} of ${total} done` : 'finished',
    }));
    button.addEventListener('click', () => begin(name));
    const row = element('div', {});
    row.append(button);
    if (store === inThisBrowser && cases.size) {
      const save = element('button', { type: 'button', textContent: 'Download' });
      save.setAttribute('aria-label', `Download the answers of ${name}`);
      save.addEventListener('click', () => download(name));
      row.append(save);
    }
    rows.push(row);
  }
  $('readers').replaceChildren(...rows);
}

function element(tag, properties) {
  return Object.assign(document.createElement(tag), properties);
}

async function begin(name) {
  $('nothing').hidden = true;
  coverView();
  show('reading');
  try {
    await prepareViewer();
    await takeUp(name);
  } catch (error) {
    show('welcome');
    complainHere(error);
  }
}

async function takeUp(name) {
  reader = name;
  order = study.readers[name];
  given = new Map((await store.given(name)).map((answer) => [answer.case, answer]));
  const open = order.findIndex((each) => !given.has(each));
  if (open < 0) finish();
  else await showCase(open);
}

async function prepareViewer() {
  if (nv) return;
  if (!document.createElement('canvas').getContext('webgl2')) {
    throw new Error('this browser shows no CT, since it has no WebGL 2 (is hardware acceleration off?)');
  }
  nv = new Niivue({
    backColor: [0, 0, 0, 1], crosshairColor: [0.34, 0.71, 0.91, 0.8], crosshairGap: 12,
    crosshairWidth: CROSSHAIR_MM, crosshairWidthUnit: 'mm', isRadiologicalConvention: true,
    sagittalNoseLeft: true,
    isColorbar: false, isRuler: false, dragAndDropEnabled: false, viewModeHotKey: '', clipPlaneHotKey: '',
    cycleClipPlaneHotKey: '', loadingText: '', logLevel: 'error', fontMinPx: 12,
    mouseEventConfig: { leftButton: { primary: DRAG_MODE.crosshair }, rightButton: DRAG_MODE.windowing,
      centerButton: DRAG_MODE.pan },
  });
  await nv.attachToCanvas($('ct'));
  nv.onLocationChange = ({ values }) => {
    $('location').textContent = values.length ? `${Math.round(values[0].value)} HU` : '';
  };
  showPlanes();
}

function setPaused(stop) {
  paused = stop;
  $('paused').hidden = !stop;
  $('panel').inert = stop;
  if (stop) {
    clock.stop();
    $('resume').focus();
  } else if (ready && !document.hidden) {
    clock.run();
    document.activeElement?.blur();
  }
}

function toggleFull() {
  if (document.fullscreenElement) document.exitFullscreen();
  else document.documentElement.requestFullscreen?.();
}

function turnPlanes() {
  layout = (layout + 1) % LAYOUTS.length;
  showPlanes();
}

function toggleCross() {
  const hide = nv.opts.crosshairWidth > 0;
  nv.setCrosshairWidth(hide ? 0 : CROSSHAIR_MM);
  $('cross').setAttribute('aria-pressed', String(!hide));
}

function moveSlice(by) {
  if (!ready) return;
  const axis = { [SLICE_TYPE.CORONAL]: 1, [SLICE_TYPE.SAGITTAL]: 0 }[LAYOUTS[layout][0][0]] ?? 2;
  nv.moveCrosshairInVox(...[0, 1, 2].map((each) => (each === axis ? by : 0)));
}

// Keys and buttons

const KEYS = {
  Enter: next, m: mark, b: () => at > 0 && ready && showCase(at - 1), v: turnPlanes, f: toggleFull, c: toggleCross,
  p: () => setPaused(true), ArrowUp: () => moveSlice(1), ArrowDown: () => moveSlice(-1),
  PageUp: () => moveSlice(5), PageDown: () => moveSlice(-5),
};
for (const [key, value] of Object.entries(ANSWERS)) KEYS[key] = () => choose('answer', value);
for (const [key, value] of Object.entries(CONFIDENCE)) {
  KEYS[key] = () => $('confidence').disabled || choose('confidence', value);
}
for (const [key, value] of Object.entries(WINDOW_KEYS)) KEYS[key] = () => { choose('window', value); showWindow(); };

function onKey(event) {
  if ($('reading').hidden || event.ctrlKey || event.altKey || event.metaKey) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const target = event.target;
  if (paused) {
    if (key === 'p') setPaused(false);
    return;
  }
  if (target.matches?.('button') && (key === 'Enter' || key === ' ')) return; // the button's own
  if (target.matches?.('input') && key.startsWith('Arrow')) return; // from one choice to the next
  if (!(key in KEYS)) return;
  event.preventDefault();
  event.stopPropagation(); // NiiVue has keys of its own
  if (!event.repeat || key.startsWith('Arrow') || key.startsWith('Page')) KEYS[key]();
}

function listen() {
  window.addEventListener('keydown', onKey, true);
  window.addEventListener('keyup', (event) => !$('reading').hidden && event.stopPropagation(), true);
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) clock.stop();
    else if (ready && !paused) clock.run();
  });
  // A click leaves the keys to the image: the next arrow moves slices, and Enter goes on.
  $('panel').addEventListener('click', (event) => event.detail > 0 && document.activeElement?.blur());
  $('answers').addEventListener('change', () => choose('answer', chosen('answer')));
  $('windows').addEventListener('change', showWindow);
  $('view').addEventListener('dblclick', (event) => { event.stopPropagation(); mark(); }, true);
  $('view').addEventListener('contextmenu', (event) => event.preventDefault());
  const buttons = { mark, next, back: KEYS.b, planes: turnPlanes, full: toggleFull, cross: toggleCross, pause: KEYS.p,
    resume: () => setPaused(false), leave: welcome, again: welcome, download: () => download(reader) };
  for (const [id, does] of Object.entries(buttons)) $(id).addEventListener('click', () => does());
}

async function start() {
  listen();
  try {
    study = await read(await fetch('study.json'));
    store = study.answers === 'server' ? withTheServer : inThisBrowser;
    await welcome();
  } catch (error) {
    show('welcome');
    complainHere(error);
  }
}

start();
