// Puts the page together: who is signed in, what is sent from here, and the list of all uploads.

import { Listing } from "./listing.js";
import { News, Trouble } from "./news.js";
import { Refused, Unauthorized, act, ask, token } from "./session.js";
import { Transfers } from "./transfers.js";

const byId = (id) => document.getElementById(id);
/** How long a complaint stays, in milliseconds. */
const COMPLAINT = 20_000;
const canSend = Boolean(globalThis.tus?.isSupported);
let complaining;
let principal = "";

function announce(text) {
  byId("status").textContent = text;
}

function complain(text) {
  clearTimeout(complaining);
  byId("trouble").textContent = text;
  byId("trouble").hidden = false;
  complaining = setTimeout(() => {
    byId("trouble").hidden = true;
  }, COMPLAINT);
}

/** Ask whether to cancel; a dialog takes care of the focus by itself. */
function confirm(name) {
  const dialog = byId("ask");
  dialog.querySelector(".name").textContent = name;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((done) => {
    dialog.addEventListener("close", () => done(dialog.returnValue === "yes"), { once: true });
  });
}

async function does(upload, action, done) {
  try {
    await act(upload.id, action);
    announce(done);
  } catch (error) {
    if (error instanceof Unauthorized) signIn();
    else complain(`That did not work: ${error.message}`);
  }
}

const transfers = new Transfers({
  list: byId("transfers"),
  input: byId("files"),
  announce,
  complain,
  confirm,
});

const listing = new Listing({
  section: byId("listing"),
  onCancel: async (upload) => {
    const name = upload.filename || upload.filepath;
    if (await confirm(name)) await does(upload, "cancel", `${name} is being removed`);
  },
  onFilter: async (state) => {
    try {
      const answer = await ask(`api/uploads?state=${encodeURIComponent(state)}`);
      listing.add((await answer.json()).uploads);
    } catch (error) {
      complain(`The list is not complete: ${error.message}`);
    }
  },
  onRequeue: (upload) =>
    does(upload, "requeue", `${upload.filename || upload.filepath} is tried again`),
});

const news = new News({
  onUploads(whole) {
    principal = whole.principal;
    connected();
    listing.replace(whole);
    if (canSend) {
      transfers.tell(whole.uploads, true);
      transfers.retry();
    }
  },
  onChanges(changes) {
    connected();
    listing.change(changes);
    if (canSend) transfers.tell(changes.changed, false);
  },
  onTrouble(error) {
    if (error instanceof Unauthorized) signIn();
    else if (error instanceof Refused) connection(error.message);
    else if (error instanceof Trouble) connection(`the server is in trouble: ${error.message}`);
    else connection("no connection; trying again …");
  },
});

function connection(text, state = "off") {
  byId("connection").textContent = text;
  byId("connection").dataset.state = state;
}

function connected() {
  connection(principal ? `signed in as ${principal}` : "connected", "on");
  byId("sign-in").hidden = true;
  byId("sign-out").hidden = !token.get();
  byId("sending").hidden = !canSend;
  byId("missing").hidden = canSend;
  byId("listing").hidden = false;
}

/** Ask for a token. What is being sent stops by itself: the server refuses it. */
function signIn() {
  news.stop();
  const had = token.get();
  token.forget();
  connection("not signed in");
  byId("sign-in-why").textContent = had
    ? "The server does not accept this token (any more)."
    : "This server wants to know who you are.";
  byId("sign-in").hidden = false;
  byId("sign-out").hidden = true;
  byId("sending").hidden = true;
  byId("listing").hidden = true;
  byId("token").focus();
}

byId("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  token.set(byId("token").value.trim());
  byId("token").value = "";
  connection("connecting …");
  news.follow();
});

byId("sign-out").addEventListener("click", () => {
  for (const transfer of transfers.all) if (transfer.canPause) transfer.pause();
  token.forget();
  signIn();
});

byId("files").addEventListener("change", (event) => {
  transfers.add([...event.target.files]);
  // The same file can be chosen again.
  event.target.value = "";
});
// Browsers take the space bar only; the field looks like a button, though.
byId("files").addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault();
  event.target.click();
});
byId("files").addEventListener("cancel", () => {
  transfers.rechoosing = null;
});

/** Files only: a folder would be sent as a file that cannot be read. */
function dropped(data) {
  const items = [...data.items].filter((item) => item.kind === "file");
  const folders = items.filter((item) => item.webkitGetAsEntry?.()?.isDirectory);
  if (folders.length) complain("Folders cannot be sent; drop the files in them.");
  return items.filter((item) => !folders.includes(item)).map((item) => item.getAsFile());
}

const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
// Anywhere on the page: a file that misses the field would replace the page.
addEventListener("dragover", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  byId("drop").classList.add("over");
});
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) byId("drop").classList.remove("over");
});
addEventListener("drop", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  byId("drop").classList.remove("over");
  if (canSend && !byId("sending").hidden) transfers.add(dropped(event.dataTransfer));
});
addEventListener("online", () => canSend && transfers.retry());

if (canSend) await transfers.restore();
news.follow();
