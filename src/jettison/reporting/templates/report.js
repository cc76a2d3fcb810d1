"use strict";
(() => {
  const holders = [...document.querySelectorAll("[data-figure]")];
  if (!holders.length) return;

  const say = (text) => holders.forEach((holder) => {
    holder.replaceChildren(Object.assign(document.createElement("p"), { className: "plot-missing", textContent: text }));
  });

  // Figures name colours by CSS variable, so that one figure serves light and dark.
  const filled = (value, style) => {
    if (typeof value === "string") return value.startsWith("--plot-") ? style.getPropertyValue(value).trim() : value;
    if (Array.isArray(value)) return value.map((item) => filled(item, style));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, filled(item, style)]));
    }
    return value;
  };

  const draw = () => {
    const style = getComputedStyle(document.documentElement);
    for (const holder of holders) {
      const figure = filled(JSON.parse(document.getElementById(holder.dataset.figure).textContent), style);
      holder.style.height = `${figure.height}px`;
      holder.querySelector(".plot-missing")?.remove();
      Plotly.react(holder, figure.data, figure.layout, { responsive: true, displayModeBar: false, scrollZoom: false });
    }
  };

  const unpack = async () => {
    const packed = Uint8Array.from(atob(document.getElementById("plotly").textContent.trim()), (c) => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
  };

  if (typeof DecompressionStream === "undefined") {
    say("This browser is too old to draw the plots; the tables hold the same numbers.");
    return;
  }
  unpack().then(draw).then(() => {
    document.documentElement.dataset.plots = "drawn";
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  }, (error) => say(`The plots could not be drawn (${error.message}); the tables hold the same numbers.`));
})();
