// Keeps the page of a purchase up to date: what its workflow waits for, and the page anew when its state has changed.
(function () {
  const script = document.currentScript;
  async function look() {
    const answer = await fetch(script.dataset.status, { headers: { Accept: "application/json" } });
    if (!answer.ok) return;
    const found = await answer.json();
    document.getElementById("workflow").textContent = found.workflow;
    document.getElementById("waits").textContent = found.waits_for.join(", ");
    if (found.state !== script.dataset.state) location.reload();
  }
  look();
  setInterval(() => { if (!document.hidden) look(); }, 2000);
})();
