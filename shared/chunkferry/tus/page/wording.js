// How sizes, times and states read. Knows no element and no server.

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

/** A number of bytes for people; null is a size that nobody knows yet. */
export function size(bytes) {
  if (bytes === null || bytes === undefined) return "not known yet";
  let unit = 0;
  let rest = bytes;
  while (rest >= 1024 && unit < UNITS.length - 1) {
    rest /= 1024;
    unit += 1;
  }
  return `${unit && rest < 100 ? rest.toFixed(1) : Math.round(rest)} ${UNITS[unit]}`;
}

/** How much of `whole` is done, such as "42 %"; never 100 % before it is. */
export function share(part, whole) {
  if (whole === null) return size(part);
  if (part >= whole) return "100 %";
  return `${Math.floor((100 * part) / whole)} %`;
}

/** A span of seconds for people. */
export function span(seconds) {
  if (seconds < 60) return `${Math.max(0, Math.floor(seconds))} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 2 * 86400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} days`;
}

/** States from which an upload comes to no more. */
export const ENDED = ["complete", "expired", "cancelled"];
/** States in which an upload can be cancelled. */
export const CANCELLABLE = ["receiving", "received", "failed"];

const STATES = {
  receiving: "receiving",
  received: "storing",
  completing: "completing",
  complete: "complete",
  failed: "failed",
  aborting: "being removed",
  expired: "expired",
  cancelled: "cancelled",
};

/** The word for an upload's state. */
export function state(name) {
  return STATES[name] ?? name;
}
