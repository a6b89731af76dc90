// The exporter's time: what is "3 min ago" must not depend on this machine's clock being right.

/** Seconds between two numbers of `performance.now()`. */
const SECOND = 1000;

export class Clock {
  constructor() {
    this.generatedAt = Date.now() / SECOND;
    this.receivedAt = performance.now();
    this.running = true;
  }

  /** A frame came that was made at `generatedAt` (Unix seconds). */
  received(generatedAt) {
    this.generatedAt = generatedAt;
    this.receivedAt = performance.now();
  }

  /** Unix seconds, as the exporter would say. */
  now() {
    return this.generatedAt + this.age();
  }

  /** Seconds since the newest frame. */
  age() {
    return (performance.now() - this.receivedAt) / SECOND;
  }

  /** Seconds by which what was true in the frame has gone on since; 0 while nobody knows whether it has. */
  sinceFrame() {
    return this.running ? this.age() : 0;
  }
}
