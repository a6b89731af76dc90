// Numbers, money and times as text: with units, never with more digits than are known.

const GAP = "\u00a0"; // keeps a number and its unit on one line
const DASH = "–";
const MINUS = "−";

const grouped = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const clockTime = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const dayAndClock = new Intl.DateTimeFormat("en-GB", {
  day: "numeric",
  month: "short",
  hour: "2-digit",
  minute: "2-digit",
});
const dayAndYear = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });
const complete = new Intl.DateTimeFormat("en-GB", { dateStyle: "full", timeStyle: "long" });

/** 10000 → `10,000`. */
export function count(value) {
  return grouped.format(value);
}

/** `1 task`, `2 tasks`. */
export function counted(value, one, many = `${one}s`) {
  return `${count(value)}${GAP}${value === 1 ? one : many}`;
}

/** 0.453 → `45 %`; what is not all is never shown as 100 %, what is not nothing never as 0 %. */
export function percent(rate, digits = 0) {
  const shown = (rate * 100).toFixed(digits);
  if (rate < 1 && Number(shown) === 100) return `>99${GAP}%`;
  if (rate > 0 && Number(shown) === 0) return `<1${GAP}%`;
  return `${shown}${GAP}%`;
}

/** How many digits behind the point a rate has whose interval is so wide. */
export function rateDigits(low, high) {
  return low !== null && high !== null && high - low < 0.02 ? 1 : 0;
}

/** 0.37, 0.53 → `37–53 %`. */
export function interval(low, high) {
  const digits = rateDigits(low, high);
  const [from, to] = [low, high].map((rate) => (rate * 100).toFixed(digits));
  return from === to ? `${from}${GAP}%` : `${from}${DASH}${to}${GAP}%`;
}

function signed(value, digits) {
  const shown = Math.abs(value).toFixed(digits);
  if (Number(shown) === 0) return "±0";
  return `${value < 0 ? MINUS : "+"}${shown}`;
}

/** A difference of rates, 0.04 → `+4 points`; `low` and `high` are its interval and say how many digits are known. */
export function points(delta, low, high) {
  return `${signed(delta * 100, pointDigits(low, high))}${GAP}points`;
}

/** The interval of a difference, `−5 to +13`. */
export function pointInterval(low, high) {
  const digits = pointDigits(low, high);
  return `${signed(low * 100, digits)} to ${signed(high * 100, digits)}`;
}

function pointDigits(low, high) {
  return low !== null && high !== null && high - low < 0.05 ? 1 : 0;
}

/** US dollars: `$0.0021`, `$4.23`, `$12,400`. */
export function money(usd) {
  const size = Math.abs(usd);
  const sign = usd < 0 ? MINUS : "";
  if (size >= 1000) return `${sign}$${grouped.format(size)}`;
  if (size >= 0.1 || size === 0) return `${sign}$${size.toFixed(2)}`;
  if (size < 0.00001) return `${sign}<$0.00001`;
  const digits = Math.max(2, 1 - Math.floor(Math.log10(size)));
  return `${sign}$${size.toFixed(digits)}`;
}

/** A large number of small things: `950`, `12.3 k`, `1.24 M`. */
export function amount(value) {
  for (const [size, unit] of [
    [1e9, "G"],
    [1e6, "M"],
    [1e3, "k"],
  ]) {
    if (value >= size) {
      const scaled = value / size;
      return `${scaled.toFixed(scaled >= 100 ? 0 : scaled >= 10 ? 1 : 2)}${GAP}${unit}`;
    }
  }
  return count(value);
}

/** A mean of counts: one digit behind the point. */
export function mean(value) {
  return value.toFixed(1);
}

/** How long something took, in seconds: `42 s`, `3 min 20 s`, `33 min`, `1 h 12 min`, `2 d 3 h`. */
export function duration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 1 && seconds > 0) return `<1${GAP}s`;
  if (whole < 60) return `${whole}${GAP}s`;
  if (whole < 600) return two(Math.floor(whole / 60), "min", whole % 60, "s");
  if (whole < 3600) return `${Math.floor(whole / 60)}${GAP}min`;
  if (whole < 86400) return two(Math.floor(whole / 3600), "h", Math.floor((whole % 3600) / 60), "min");
  return two(Math.floor(whole / 86400), "d", Math.floor((whole % 86400) / 3600), "h");
}

function two(large, largeUnit, small, smallUnit) {
  const first = `${count(large)}${GAP}${largeUnit}`;
  return small === 0 ? first : `${first}${GAP}${small}${GAP}${smallUnit}`;
}

/** An estimate of seconds that are left, no finer than it is known. */
export function estimate(seconds) {
  if (seconds < 100) return `${seconds < 10 ? Math.round(seconds) : Math.round(seconds / 5) * 5}${GAP}s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)}${GAP}min`;
  if (seconds < 86400) return duration(Math.round(seconds / 300) * 300);
  return duration(Math.round(seconds / 3600) * 3600);
}

/** Two bounds of an estimate in one unit: `27–46 min`. */
export function estimateRange(low, high) {
  const [size, unit, digits] =
    high < 100 ? [1, "s", 0] : high < 7200 ? [60, "min", 0] : high < 172800 ? [3600, "h", 1] : [86400, "d", 1];
  const [from, to] = [low, high].map((seconds) => (seconds / size).toFixed(digits));
  return from === to ? `${from}${GAP}${unit}` : `${from}${DASH}${to}${GAP}${unit}`;
}

/** A point in time as seen from `now`, both Unix seconds: relative within a day, else the date. */
export function ago(then, now) {
  const seconds = now - then;
  if (seconds < 5) return "just now";
  if (seconds < 60) return `${Math.floor(seconds / 5) * 5}${GAP}s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}${GAP}min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)}${GAP}h ago`;
  return dayAndYear.format(then * 1000);
}

/** A point in time as local clock time, with the day where it is another one than `now`'s. */
export function clock(then, now) {
  const [there, here] = [new Date(then * 1000), new Date(now * 1000)];
  return (there.toDateString() === here.toDateString() ? clockTime : dayAndClock).format(there);
}

/** A point in time, exactly, for those who hover. */
export function exact(then) {
  return complete.format(then * 1000);
}
