/** Server-sent events, out of bytes as they come: an event may be cut anywhere, even inside a letter. */

/** @typedef {{comment: string} | {data: string}} Heard */

export class EventReader {
  constructor() {
    this.decoder = new TextDecoder();
    this.rest = "";
    /** @type {string[]} */
    this.data = [];
  }

  /**
   * Take the next bytes.
   *
   * @param {Uint8Array} bytes
   * @returns {Heard[]} what is complete by now
   */
  push(bytes) {
    const lines = (this.rest + this.decoder.decode(bytes, { stream: true })).split("\n");
    this.rest = lines.pop() ?? "";
    return lines.flatMap((line) => this.line(line.replace(/\r$/, "")));
  }

  /**
   * @param {string} line
   * @returns {Heard[]}
   */
  line(line) {
    if (line.startsWith(":")) return [{ comment: line.slice(1).trimStart() }];
    if (line.startsWith("data:")) this.data.push(line.slice(5).replace(/^ /, ""));
    if (line || !this.data.length) return [];
    const data = this.data.join("\n");
    this.data = [];
    return [{ data }];
  }
}
