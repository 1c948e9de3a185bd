// Who uses the page, and requests in their name. Knows no upload and no element.

const KEY = "chunkferry.token";

/** The server wants a token, or another one. */
export class Unauthorized extends Error {}

/** The server answered with an error; the message is its own. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** The token, which lives as long as the tab and goes nowhere but into a header. */
export const token = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (value) => sessionStorage.setItem(KEY, value),
  forget: () => sessionStorage.removeItem(KEY),
};

/** Headers that say who asks. */
export function credentials() {
  return token.get() ? { Authorization: `Bearer ${token.get()}` } : {};
}

/** An address of this server, wherever the application is mounted. */
export function address(path) {
  return new URL(path, document.baseURI).href;
}

/** The answer to a request; throws `Unauthorized` or `Refused`. */
export async function ask(path, options = {}) {
  const answer = await fetch(address(path), {
    cache: "no-store",
    credentials: "same-origin",
    ...options,
    headers: { ...credentials(), ...options.headers },
  });
  if (answer.status === 401) throw new Unauthorized();
  if (!answer.ok) throw new Refused(answer.status, await sentence(answer));
  return answer;
}

/** Have something done to an upload. */
export function act(id, action) {
  // The header is one that no other site's page can make a browser send.
  const headers = { "X-Chunkferry": "page" };
  return ask(`api/uploads/${encodeURIComponent(id)}/${action}`, { method: "POST", headers });
}

/** What the server says of its refusal: a problem as JSON, or a line of text. */
async function sentence(answer) {
  const text = await answer.text();
  try {
    const problem = JSON.parse(text);
    return String(problem.detail ?? problem.message ?? problem.title);
  } catch {
    const kind = answer.headers.get("content-type") ?? "";
    if (kind.startsWith("text/plain") && text.trim()) return text.trim().slice(0, 300);
    return `the server answered ${answer.status}`;
  }
}
