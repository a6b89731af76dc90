// Numbers, money and times as text: with units, and with no more digits than are known.

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
export function formatCount(value) {
  return grouped.format(value);
}

/** What is counted of a run: tasks, or attempts where each task is tried several times. */
export const unitOf = (job) => (job.attempts_planned > 1 ? "attempt" : "task");

/** `1 task`, `2 tasks`. */
export function formatQuantity(value, one, many = `${one}s`) {
  return `${formatCount(value)}${GAP}${value === 1 ? one : many}`;
}

/** 0.453 → `45 %`; only exactly 1 is shown as 100 %, only exactly 0 as 0 %. */
export function formatPercent(rate, digits = 0) {
  const shown = (rate * 100).toFixed(digits);
  if (rate < 1 && Number(shown) === 100) return `>99${GAP}%`;
  if (rate > 0 && Number(shown) === 0) return `<1${GAP}%`;
  return `${shown}${GAP}%`;
}

/** The number of decimals for a rate with this interval. */
export function chooseRateDigits(low, high) {
  return low !== null && high !== null && high - low < 0.02 ? 1 : 0;
}

/** 0.37, 0.53 → `37–53 %`. */
export function formatInterval(low, high) {
  const digits = chooseRateDigits(low, high);
  const [from, to] = [low, high].map((rate) => (rate * 100).toFixed(digits));
  return from === to ? `${from}${GAP}%` : `${from}${DASH}${to}${GAP}%`;
}

function formatSigned(value, digits) {
  const shown = Math.abs(value).toFixed(digits);
  if (Number(shown) === 0) return "±0";
  return `${value < 0 ? MINUS : "+"}${shown}`;
}

/** A difference of rates, 0.04 → `+4 points`; its interval, `low` to `high`, determines the number of decimals. */
export function formatPoints(delta, low, high) {
  return `${formatSigned(delta * 100, choosePointDigits(low, high))}${GAP}points`;
}

/** The interval of a difference, `−5 to +13`. */
export function formatPointInterval(low, high) {
  const digits = choosePointDigits(low, high);
  return `${formatSigned(low * 100, digits)} to ${formatSigned(high * 100, digits)}`;
}

function choosePointDigits(low, high) {
  return low !== null && high !== null && high - low < 0.05 ? 1 : 0;
}

/** US dollars: `$0.0021`, `$4.23`, `$12,400`. */
export function formatMoney(usd) {
  const size = Math.abs(usd);
  const sign = usd < 0 ? MINUS : "";
  if (size >= 1000) return `${sign}$${grouped.format(size)}`;
  if (size >= 0.1 || size === 0) return `${sign}$${size.toFixed(2)}`;
  if (size < 0.00001) return `${sign}<$0.00001`;
  const digits = Math.max(2, 1 - Math.floor(Math.log10(size)));
  return `${sign}$${size.toFixed(digits)}`;
}

/** A large number with a unit prefix: `950`, `12.3 k`, `1.24 M`. */
export function formatAmount(value) {
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
  return formatCount(value);
}

/** A mean of counts, with one decimal. */
export function formatMean(value) {
  return value.toFixed(1);
}

/** A duration in seconds: `42 s`, `3 min 20 s`, `33 min`, `1 h 12 min`, `2 d 3 h`. */
export function formatDuration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 1 && seconds > 0) return `<1${GAP}s`;
  if (whole < 60) return `${whole}${GAP}s`;
  if (whole < 600) return formatTwoUnits(Math.floor(whole / 60), "min", whole % 60, "s");
  if (whole < 3600) return `${Math.floor(whole / 60)}${GAP}min`;
  if (whole < 86400) return formatTwoUnits(Math.floor(whole / 3600), "h", Math.floor((whole % 3600) / 60), "min");
  return formatTwoUnits(Math.floor(whole / 86400), "d", Math.floor((whole % 86400) / 3600), "h");
}

function formatTwoUnits(large, largeUnit, small, smallUnit) {
  const first = `${formatCount(large)}${GAP}${largeUnit}`;
  return small === 0 ? first : `${first}${GAP}${small}${GAP}${smallUnit}`;
}

/** An estimate of the remaining seconds, rounded to its precision. */
export function formatEstimate(seconds) {
  if (seconds < 100) return `${seconds < 10 ? Math.round(seconds) : Math.round(seconds / 5) * 5}${GAP}s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)}${GAP}min`;
  if (seconds < 86400) return formatDuration(Math.round(seconds / 300) * 300);
  return formatDuration(Math.round(seconds / 3600) * 3600);
}

/** The bounds of an estimate in one unit: `27–46 min`. */
export function formatEstimateRange(low, high) {
  const [size, unit, digits] =
    high < 100 ? [1, "s", 0] : high < 7200 ? [60, "min", 0] : high < 172800 ? [3600, "h", 1] : [86400, "d", 1];
  const [from, to] = [low, high].map((seconds) => (seconds / size).toFixed(digits));
  return from === to ? `${from}${GAP}${unit}` : `${from}${DASH}${to}${GAP}${unit}`;
}

/** A time relative to `now`, both in Unix seconds: `3 min ago` within a day, else the date. */
export function formatAgo(then, now) {
  const seconds = now - then;
  if (seconds < 5) return "just now";
  if (seconds < 60) return `${Math.floor(seconds / 5) * 5}${GAP}s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}${GAP}min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)}${GAP}h ago`;
  return dayAndYear.format(then * 1000);
}

/** A time as local clock time, with the date where it is not that of `now`. */
export function formatClock(then, now) {
  const [there, here] = [new Date(then * 1000), new Date(now * 1000)];
  return (there.toDateString() === here.toDateString() ? clockTime : dayAndClock).format(there);
}

/** The exact local time, for tooltips. */
export function formatExact(then) {
  return complete.format(then * 1000);
}
