// Makes the page live: peers and other servers are asked for again while somebody looks, and what can be copied gets a button.
// Without it the page says the same as of the moment it was loaded.
"use strict";

for (const line of document.querySelectorAll(".copy")) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    const code = line.querySelector("code");
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    } catch {
      // Pages without TLS have no clipboard: select it, so that a key copies it.
      getSelection().selectAllChildren(code);
    }
  });
  line.append(button);
}

const live = document.getElementById("live");

function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let unit = 0;
  while (n >= 999.5 && unit < units.length - 1) { n /= 1024; unit += 1; }
  return (unit === 0 ? n : n < 9.995 ? n.toFixed(2) : n < 99.95 ? n.toFixed(1) : n.toFixed(0)) + " " + units[unit];
}

function show(swarm) {
  const title = live.querySelector("h2");
  live.replaceChildren(title);
  if (swarm.peers.length === 0) {
    const none = document.createElement("p");
    none.className = "none";
    none.textContent = "Nobody is connected at the moment.";
    live.append(none);
    return;
  }
  const table = document.createElement("table");
  const head = table.createTHead().insertRow();
  for (const name of ["Address", "Program", "Has", "Was sent", "Now"]) {
    const cell = document.createElement("th");
    cell.textContent = name;
    if (head.cells.length > 1) cell.className = "n";
    head.append(cell);
  }
  const body = table.createTBody();
  for (const peer of swarm.peers) {
    const row = body.insertRow();
    const cells = [peer.address, peer.client, peer.percent.toFixed(0) + " %", bytes(peer.uploaded), bytes(peer.rate_up) + "/s"];
    cells.forEach((text, index) => {
      const cell = row.insertCell();
      cell.textContent = text;
      if (index > 1) cell.className = "n";
    });
  }
  live.append(table);
}

const servers = document.getElementById("servers");

function showServers(links) {
  const now = [...servers.querySelectorAll("a")].map((a) => a.textContent);
  // Nobody's selection is taken away for nothing.
  if (now.length === links.length && links.every((link, index) => link === now[index])) return;
  servers.querySelector("ul").replaceChildren(...links.map((link) => {
    const a = document.createElement("a");
    a.href = link;
    a.textContent = link;
    const line = document.createElement("li");
    line.append(a);
    return line;
  }));
  servers.hidden = links.length === 0;
}

async function refresh() {
  if (document.visibilityState === "visible") {
    try {
      const answer = await fetch(live.dataset.url, { headers: { accept: "application/json" } });
      if (answer.ok) {
        const now = await answer.json();
        show(now);
        showServers(now.servers);
      }
    } catch {
      // The node is away; it is asked again.
    }
  }
  setTimeout(refresh, 2000);
}

if (live) setTimeout(refresh, 2000);
