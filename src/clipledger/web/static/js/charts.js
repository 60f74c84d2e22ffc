// Draws what a figure's data-chart address tells, in the page's colours; the table below says the same in numbers.
const ROWS = 400; // of the table under a chart: the newest; the CSV has all
const TONES = ["--saved", "--withheld", "--dead", "--warn"];
const DAY = 86400;
const WHOLE = [1, 2, 5].flatMap((n) => Array.from({ length: 14 }, (_, power) => n * 10 ** power)).sort((a, b) => a - b);
const drawn = new Map();
const plain = new Intl.NumberFormat("en-US", { maximumFractionDigits: 1 });
const short = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 });

for (const figure of document.querySelectorAll("figure[data-chart]")) load(figure);
document.addEventListener("theme", () => redraw());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redraw());
new ResizeObserver(() => { for (const { plot, box } of drawn.values()) plot.setSize({ width: box.clientWidth, height: 210 }); }).observe(document.body);

async function load(figure) {
  const box = figure.querySelector(".plot");
  try {
    const answer = await fetch(figure.dataset.chart, { headers: { Accept: "application/json" } });
    if (!answer.ok) throw new Error(answer.statusText);
    const told = await answer.json();
    list(figure.querySelector("[data-chart-table]"), told);
    draw(figure, box, told);
  } catch {
    say(box, "The figures could not be read. Load the page again.");
  }
}

function draw(figure, box, told) {
  if (!told.points.length) return say(box, figure.dataset.empty);
  drawn.get(figure)?.plot.destroy();
  box.replaceChildren();
  const bars = told.kind === "bars";
  const plot = new uPlot(settings(told, box.clientWidth || 300, bars), columns(told), box);
  drawn.set(figure, { plot, box, told });
  rest(plot);
}

// Where nobody points, the legend tells the newest numbers.
const rest = (plot) => { if (plot.cursor.idx == null) plot.setLegend({ idx: plot.data[0].length - 1 }); };

const columns = (told) => [told.points.map((point) => point.at), ...told.lines.map((_, at) => told.points.map((point) => point.values[at]))];

function list(table, told) {
  const row = (kind, texts) => {
    const made = document.createElement("tr");
    texts.forEach((text, at) => {
      const cell = document.createElement(kind);
      cell.textContent = text;
      if (at) cell.className = "n";
      made.append(cell);
    });
    return made;
  };
  const head = document.createElement("thead");
  const body = document.createElement("tbody");
  head.append(row("th", ["UTC", ...told.lines]));
  for (const point of told.points.slice(-ROWS).reverse()) {
    const when = point.when.slice(0, told.kind === "bars" ? 10 : 16).replace("T", " ");
    body.append(row("td", [when, ...point.values.map((value) => (value == null ? "-" : plain.format(value)))]));
  }
  table.replaceChildren(head, body);
}

function redraw() {
  for (const [figure, { box, told }] of [...drawn]) draw(figure, box, told);
}

function settings(told, width, bars) {
  const of = getComputedStyle(document.documentElement);
  const colour = (name) => resolved(of.getPropertyValue(name));
  const axis = { stroke: colour("--dim"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 } };
  const paint = (at) => colour(told.tone === "bad" || (told.tone === "life" && at) ? "--dead" : TONES[at % TONES.length]);
  return {
    width,
    height: 210,
    padding: [8, bars ? 8 : 34, 0, 0],
    hooks: { setCursor: [rest] },
    cursor: { points: { size: 7 } },
    legend: { live: true },
    scales: { x: { time: true, range: () => span(told, bars) }, y: { range: (_, low, high) => [0, high > 0 ? high * 1.06 : 1] } },
    axes: [{ ...axis, space: 84, values: (_, ticks, __, ___, step) => ticks.map((tick, at) => moment(tick, step, at === 0)) }, { ...axis, size: 56, incrs: told.kind === "dots" ? undefined : WHOLE, values: (_, ticks) => ticks.map((tick) => short.format(tick)) }],
    series: [
      { label: "when", value: (_, at) => (at == null ? "-" : moment(at, bars ? 400 * DAY : 1, !bars)) },
      ...told.lines.map((label, at) => ({
        label,
        stroke: paint(at),
        fill: bars ? paint(at) : undefined,
        width: bars ? 0 : 2,
        value: (_, value) => (value == null ? "-" : plain.format(value)),
        points: { show: told.kind === "dots" || (!bars && told.points.length < 40), size: 5, fill: paint(at) },
        paths: bars ? uPlot.paths.bars({ size: at ? [0.4, 20] : [0.8, 40], radius: 0.15 }) : told.kind === "dots" ? () => null : undefined,
      })),
    ],
  };
}

function span(told, bars) {
  const first = told.points[0].at;
  const last = told.points.at(-1).at;
  const half = told.tone === "life" ? 15 * DAY : DAY / 2; // a bar stands for a month, or for a day
  if (bars) return [Math.min(first, last - 13 * DAY) - half, last + half];
  const room = Math.max((last - first) * 0.02, 30);
  return [first - room, last + room];
}

function moment(at, step, begins) {
  const text = new Date((at - new Date(at * 1000).getTimezoneOffset() * 60) * 1000).toISOString();
  if (step >= 27 * DAY && step < 300 * DAY) return text.slice(0, 7);
  if (step >= DAY) return begins || step > 300 * DAY ? text.slice(0, 10) : text.slice(5, 10);
  return (begins ? `${text.slice(5, 10)} ` : "") + text.slice(11, step < 60 ? 19 : 16);
}

function resolved(value) {
  const probe = document.createElement("span");
  probe.style.color = value;
  document.body.append(probe);
  const colour = getComputedStyle(probe).color;
  probe.remove();
  return colour;
}

function say(box, words) {
  const line = document.createElement("p");
  line.className = "mid";
  line.textContent = words;
  box.replaceChildren(line);
}
