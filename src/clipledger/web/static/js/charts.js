// Draws what a figure's data-chart address tells, in the page's colours; the table below says the same in numbers.
const ROWS = 400; // of the table under a chart: the newest; the CSV has all
const TONES = ["--saved", "--withheld", "--dead", "--warn"];
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
  if (!told.points.length) return say(box, "Nothing to draw yet.");
  drawn.get(figure)?.plot.destroy();
  box.replaceChildren();
  const bars = told.kind === "bars";
  const plot = new uPlot(settings(told, box.clientWidth || 300, bars), columns(told), box);
  drawn.set(figure, { plot, box, told });
}

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
  const paint = (at) => colour(told.tone === "bad" ? "--dead" : TONES[at % TONES.length]);
  return {
    width,
    height: 210,
    padding: [8, 8, 0, 0],
    cursor: { points: { size: 7 } },
    legend: { live: true },
    scales: { x: { time: true, range: bars ? (_, low, high) => [low - 43200, high + 43200] : undefined }, y: { range: (_, low, high) => [0, high > 0 ? high * 1.06 : 1] } },
    axes: [axis, { ...axis, size: 56, values: (_, ticks) => ticks.map((tick) => short.format(tick)) }],
    series: [
      { label: "when" },
      ...told.lines.map((label, at) => ({
        label,
        stroke: paint(at),
        fill: bars ? paint(at) : undefined,
        width: bars ? 0 : 2,
        value: (_, value) => (value == null ? "-" : plain.format(value)),
        points: { show: told.kind === "dots" || (!bars && told.points.length < 40), size: 5, fill: paint(at) },
        paths: bars ? uPlot.paths.bars({ size: [0.8, 40], radius: 0.15 }) : told.kind === "dots" ? () => null : undefined,
      })),
    ],
  };
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
