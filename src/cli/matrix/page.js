
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const make = (tag, text, classes) => {
    const element = document.createElement(tag);
    if (text !== undefined && text !== null) element.textContent = text;
    if (classes) element.className = classes;
    return element;
  };
  const states = new Map(data.legend.map((entry) => [entry.id, entry]));
  const when = (text) => (text ? new Date(text).toLocaleString() : "not known");
  // Without a namespace: a share at Cloudflare that has no object.
  const shareKey = ({ namespace, share, name, shareID }) =>
    namespace ? namespace + "/" + (share ?? name) : (share ?? name) + " (" + shareID + ")";

  // One line for each account, one cell for each share.
  const shares = data.shares.map((share) => ({ ...share, key: shareKey(share) }));
  const namespaces = new Set(shares.map((share) => share.namespace));
  const accounts = new Map();
  for (const row of data.rows) {
    const id = row.accountID || row.organizationID;
    const key = (row.accountID ? "a" : "o") + id;
    if (!accounts.has(key)) {
      const name = row.organizationID ? "Whole organization" : row.name || "";
      accounts.set(key, { id, name, cells: new Map(), problems: 0, whole: !row.accountID, states: new Set() });
    }
    const account = accounts.get(key);
    account.states.add(row.state);
    if (states.get(row.state).problem) account.problems += 1;
    if (row.share !== null) account.cells.set(shareKey(row), row);
    else account.alone = row;
  }
  const lines = [...accounts.values()];

  const source = data.source === "cloudflare" ? "Read from Cloudflare" : "By what cfshare last observed";
  const verified = shares.map((share) => share.verifiedAt).filter(Boolean).sort();
  $("as-of").textContent =
    source + ", as of " + when(data.asOf) +
    (verified.length ? "; oldest verification " + when(verified[0]) : "; the time of the last verification is not known") +
    ". " + lines.length + " accounts, " + shares.length + " shares.";
  const warnings = [...data.warnings, ...data.notes];
  for (const share of shares) for (const more of share.leftOut) warnings.push(share.key + ": " + more + ".");
  for (const warning of warnings) $("warnings").append(make("p", warning));
  $("warnings").hidden = warnings.length === 0;

  const view = { text: "", share: "", problems: false, state: "", sort: "problems", down: true };

  const badge = (row) => {
    const state = states.get(row.state);
    const element = make("span", null, "state " + row.state);
    const symbol = make("i", state.symbol);
    symbol.setAttribute("aria-hidden", "true");
    element.append(symbol, make("span", row.word));
    return element;
  };

  const detail = (account, row, share) => {
    const panel = $("detail");
    panel.querySelector("h2").textContent = (account.name || account.id) + (share ? " in " + share.key : "");
    const list = panel.querySelector("dl");
    list.replaceChildren();
    const add = (term, text) => {
      if (text) list.append(make("dt", term), make("dd", text));
    };
    add("State", row.word);
    add("Why", row.reason);
    add("Meaning", states.get(row.state).meaning);
    add("Since", row.since && when(row.since));
    add("Verified", share && when(row.verifiedAt));
    add("Account", account.id);
    add("Declared by", row.declaredBy.join(", "));
    if (share) {
      add("Share", share.key + (share.shareID && share.namespace ? " (" + share.shareID + ")" : ""));
      add("Owner", [share.accountName, share.accountID].filter(Boolean).join(", "));
      add("Share is", "Ready " + share.ready + (share.reason ? ", " + share.reason : ""));
      add("Resources", share.resources.map((r) => r.type + "/" + (r.name ? r.name + " (" + r.id + ")" : r.id) + " (" + r.word + ")").join(", "));
    }
    panel.hidden = false;
  };

  // Every row is made once; filters hide, sorting moves.
  const body = document.querySelector("tbody");
  const made = lines.map((account) => {
    const line = make("tr");
    const head = make("th");
    head.scope = "row";
    const name = make("span", account.name || account.id);
    name.title = account.name || account.id;
    head.append(name);
    if (account.name) head.append(make("code", account.id));
    line.append(head, make("td", String(account.problems), "number"));
    for (const share of shares) {
      const cell = make("td");
      const row = account.cells.get(share.key);
      cell.dataset.share = share.key;
      if (row) {
        cell.tabIndex = -1;
        cell.append(badge(row));
        cell.title = row.reason || states.get(row.state).meaning;
        cell.setAttribute("aria-label", (account.name || account.id) + ", " + share.key + ": " + row.word);
        cell.open = () => detail(account, row, share);
      }
      line.append(cell);
    }
    if (account.alone) {
      const cell = line.children[2];
      if (cell) {
        cell.tabIndex = -1;
        cell.append(badge(account.alone));
        cell.colSpan = Math.max(1, shares.length);
        while (line.children.length > 3) line.lastChild.remove();
        cell.open = () => detail(account, account.alone, null);
      }
    }
    const words = [account.name, account.id, ...[...account.cells.values()].flatMap((row) => [row.word, shareKey(row)])];
    return { account, line, text: words.join(" ").toLowerCase() };
  });

  const head = make("tr");
  const columns = [["account", "Account", ""], ["problems", "Problems", ""]].concat(
    shares.map((share) => [share.key, namespaces.size > 1 || !share.namespace ? share.key : share.name,
      share.resources.length === 1 ? "1 resource" : share.resources.length + " resources"]));
  for (const [key, title, note] of columns) {
    const cell = make("th");
    cell.scope = "col";
    cell.dataset.key = key;
    const button = make("button", title);
    button.type = "button";
    button.addEventListener("click", () => {
      view.down = view.sort === key ? !view.down : key === "problems";
      view.sort = key;
      sort();
      show();
    });
    cell.append(button);
    if (note) cell.append(make("small", note));
    head.append(cell);
    const column = make("col", null, key === "account" || key === "problems" ? key : "share");
    column.dataset.key = key;
    document.querySelector("colgroup").append(column);
  }
  document.querySelector("thead").append(head);
  // Columns of a fixed width make sorting hundreds of lines quick.
  const fitWidth = () => {
    $("matrix").style.width = 25 + 9.5 * (view.share ? 1 : shares.length) + "rem";
  };

  const order = new Map(data.legend.map((entry, at) => [entry.id, entry.problem ? at : at + 100]));
  const rank = (account) => {
    const row = account.cells.get(view.sort);
    return row ? order.get(row.state) : 1000;
  };
  const worst = (account) => Math.min(...[...account.states].map((state) => order.get(state)));
  const names = new Intl.Collator(undefined, { numeric: true });
  const byName = (a, b) =>
    Number(b.account.whole) - Number(a.account.whole) ||
    Number(!a.account.name) - Number(!b.account.name) ||
    names.compare(a.account.name || a.account.id, b.account.name || b.account.id);
  const sort = () => {
    const way = view.down ? -1 : 1;
    made.sort((a, b) => {
      if (view.sort === "account") return way * byName(a, b);
      if (view.sort === "problems") {
        return way * (worst(b.account) - worst(a.account) || a.account.problems - b.account.problems) || byName(a, b);
      }
      return way * (rank(a.account) - rank(b.account)) || byName(a, b);
    });
    body.replaceChildren(...made.map((entry) => entry.line));
    for (const cell of head.children) {
      if (cell.dataset.key === view.sort) cell.setAttribute("aria-sort", view.down ? "descending" : "ascending");
      else cell.removeAttribute("aria-sort");
    }
  };

  const fits = (entry) => {
    const { account } = entry;
    if (view.text && !view.text.split(/\s+/).every((word) => entry.text.includes(word))) return false;
    const rows = view.share ? [account.cells.get(view.share)].filter(Boolean)
      : [...account.cells.values(), account.alone].filter(Boolean);
    if (view.share && rows.length === 0) return false;
    if (view.state && !rows.some((row) => row.state === view.state)) return false;
    return !view.problems || rows.some((row) => states.get(row.state).problem);
  };
  let shownShare = "";
  const show = () => {
    let count = 0;
    for (const entry of made) {
      const fit = fits(entry);
      entry.line.hidden = !fit;
      if (!fit) continue;
      count += 1;
    }
    for (const button of document.querySelectorAll("#legend button")) {
      button.setAttribute("aria-pressed", String(view.state === button.dataset.state));
    }
    const moved = shownShare !== view.share;
    shownShare = view.share;
    for (const cell of moved ? document.querySelectorAll("th[data-key], col[data-key], td[data-share]") : []) {
      const key = cell.dataset.share || cell.dataset.key;
      const fixed = key === "account" || key === "problems" || cell.colSpan > 1;
      cell.hidden = !fixed && view.share !== "" && key !== view.share;
    }
    fitWidth();
    $("shown").textContent = count + " of " + made.length + " accounts";
    $("empty").hidden = count > 0;
  };

  const totals = new Map();
  for (const row of data.rows) totals.set(row.state, (totals.get(row.state) || 0) + 1);
  for (const entry of data.legend.filter((entry) => totals.has(entry.id))) {
    const button = make("button");
    button.type = "button";
    button.dataset.state = entry.id;
    button.title = entry.meaning;
    const [word] = entry.meaning.split(":");
    button.append(badge({ state: entry.id, word }), make("b", String(totals.get(entry.id))));
    button.addEventListener("click", () => {
      view.state = view.state === entry.id ? "" : entry.id;
      show();
    });
    const item = make("li");
    item.append(button);
    $("legend").append(item);
  }
  for (const share of shares) {
    const option = make("option", share.key);
    option.value = share.key;
    $("share").append(option);
  }

  $("search").addEventListener("input", (event) => { view.text = event.target.value.trim().toLowerCase(); show(); });
  $("share").addEventListener("change", (event) => { view.share = event.target.value; show(); });
  $("problems").addEventListener("change", (event) => { view.problems = event.target.checked; show(); });
  $("clear").addEventListener("click", () => {
    Object.assign(view, { text: "", share: "", problems: false, state: "" });
    $("search").value = "";
    $("share").value = "";
    $("problems").checked = false;
    show();
  });
  const close = () => { $("detail").hidden = true; };
  $("close").addEventListener("click", close);
  body.addEventListener("click", (event) => {
    const cell = event.target.closest("td");
    if (cell && cell.open) { cell.focus(); cell.open(); }
  });
  const move = (cell, across, down) => {
    let line = cell.parentElement;
    if (down !== 0) {
      do line = down > 0 ? line.nextElementSibling : line.previousElementSibling; while (line && line.hidden);
      const at = [...cell.parentElement.children].indexOf(cell);
      const next = line && line.children[Math.min(at, line.children.length - 1)];
      if (next && !next.open) return line.querySelector("td[tabindex]");
      return next;
    }
    let next = cell;
    do next = across > 0 ? next.nextElementSibling : next.previousElementSibling; while (next && (!next.open || next.hidden));
    return next;
  };
  document.addEventListener("keydown", (event) => {
    const typing = event.target.matches("input[type=search], select");
    if (event.key === "Escape") {
      if (!$("detail").hidden) close();
      else if (typing) event.target.blur();
      return;
    }
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const steps = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };
    if (event.key === "/") { event.preventDefault(); $("search").focus(); return; }
    if (event.key === "p") { $("problems").click(); return; }
    const cell = event.target.closest && event.target.closest("td[tabindex]");
    if (steps[event.key]) {
      const next = cell ? move(cell, ...steps[event.key]) : body.querySelector("tr:not([hidden]) td[tabindex]");
      if (next) { event.preventDefault(); next.focus(); next.scrollIntoView({ block: "nearest", inline: "nearest" }); }
      return;
    }
    if (event.key === "Enter" && cell && cell.open) cell.open();
  });

  sort();
  show();
  document.documentElement.dataset.ready = "true";
})();
