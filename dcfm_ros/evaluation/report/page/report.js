"use strict";

const page = JSON.parse(document.getElementById("data").textContent);

start();

async function start() {
  const packed = Uint8Array.from(atob(document.getElementById("plotly").textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(stream).text();
  document.head.append(script);

  const font = { family: getComputedStyle(document.body).fontFamily };
  for (const place of document.querySelectorAll(".chart")) {
    const chart = page.charts[place.id];
    Object.assign(chart.layout, { autosize: true, dragmode: false, font });
    await Plotly.newPlot(place, chart.data, chart.layout, { displayModeBar: false, responsive: true });
  }
  const slider = document.getElementById("run");
  if (slider) {
    slider.addEventListener("input", () => show(Number(slider.value)));
    show(Number(slider.value));
  }
  document.body.dataset.ready = "true";
}

function show(index) {
  const point = page.points[index];
  const percent = (value, digits) => `${(100 * value).toFixed(digits)} %`;
  document.getElementById("run-title").value = point.title;
  document.getElementById("run").ariaValueText = point.title;
  const ms = (value) => `${value.toFixed(value < 100 ? 1 : 0)} ms`;
  const said = [
    `${ms(point.mean_ms)} for a frame on average (p95 ${ms(point.p95)})`,
    `${point.speedup.toFixed(1)} times as fast as the full network`,
    `${point.keyframes} keyframes in ${point.frames} frames`,
    `agreement ${percent(point.agreement, 2)}`,
  ];
  if (point.miou !== null) said.push(`mIoU ${percent(point.miou, 1)}`);
  document.getElementById("readout").textContent = `${said.join(", ")}.`;
  document.querySelectorAll("#runs tbody tr").forEach((row, at) => row.classList.toggle("current", at === index));
  const sizes = page.points.map((_, at) => (at === index ? 20 : 10));
  const colours = page.points.map((_, at) => (at === index ? "#e8853d" : "#3f7fd1"));
  Plotly.restyle("cost", { "marker.size": [sizes], "marker.color": [colours] });
  for (const name of ["agreement", "miou"]) {
    const place = document.getElementById(name);
    if (!place) continue;
    const chosen = place.data.some((curve) => curve.name === point.title);
    const opacity = place.data.map((curve) => (!chosen || curve.name === point.title ? 1 : 0.3));
    Plotly.restyle(place, { opacity });
  }
}
