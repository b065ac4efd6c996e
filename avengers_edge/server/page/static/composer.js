/** The field where questions are written: Enter asks, Shift+Enter is a new line; it grows with what is written. */

import { find } from "./dom.js";

export class Composer {
  /** @param {{ask: (question: string) => void, replace: (question: string) => void, stop: () => void}} on */
  constructor(on) {
    this.on = on;
    this.form = find("#composer");
    this.field = /** @type {HTMLTextAreaElement} */ (find("#question"));
    this.send = /** @type {HTMLButtonElement} */ (find("#send"));
    this.halt = /** @type {HTMLButtonElement} */ (find("#stop"));
    this.editing = false;
    this.busy = false;
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    this.field.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.submit();
    });
    this.field.addEventListener("input", () => this.show());
    this.halt.addEventListener("click", () => {
      on.stop();
      this.field.focus();
    });
    find("#cancel-edit").addEventListener("click", () => this.cancel());
    this.show();
  }

  submit() {
    const question = this.field.value.trim();
    if (!question || this.busy) return;
    const { editing } = this;
    this.cancel();
    if (editing) this.on.replace(question);
    else this.on.ask(question);
  }

  /**
   * Offer a text for editing or sending.
   *
   * @param {string} question
   * @param {boolean} editing whether it replaces the last one
   */
  offer(question, editing) {
    this.field.value = question;
    this.editing = editing;
    this.show();
    this.field.focus();
    this.field.setSelectionRange(question.length, question.length);
  }

  /** Leave the field empty, and the last question as it is. */
  cancel() {
    this.offer("", false);
  }

  /** @param {boolean} busy whether an answer is being made */
  set answering(busy) {
    this.busy = busy;
    this.show();
  }

  show() {
    this.field.style.height = "auto";
    this.field.style.height = `${this.field.scrollHeight}px`;
    this.halt.hidden = !this.busy;
    this.send.hidden = this.busy;
    this.send.disabled = !this.field.value.trim();
    find("#editing").hidden = !this.editing;
  }
}
