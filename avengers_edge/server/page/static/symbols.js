/** LaTeX's names of signs and letters. */

/** @type {Record<string, string>} */
export const SYMBOLS = {
  ...{ times: "×", cdot: "·", div: "÷", pm: "±", mp: "∓", ast: "∗", star: "⋆", circ: "∘", bullet: "•" },
  ...{ leq: "≤", le: "≤", geq: "≥", ge: "≥", neq: "≠", ne: "≠", lt: "<", gt: ">", ll: "≪", gg: "≫" },
  ...{ approx: "≈", equiv: "≡", sim: "∼", cong: "≅", propto: "∝", parallel: "∥", perp: "⊥", mid: "∣" },
  ...{ in: "∈", notin: "∉", subset: "⊂", subseteq: "⊆", supset: "⊃", cup: "∪", cap: "∩", emptyset: "∅" },
  ...{ setminus: "∖", forall: "∀", exists: "∃", neg: "¬", land: "∧", wedge: "∧", lor: "∨", vee: "∨" },
  ...{ to: "→", rightarrow: "→", leftarrow: "←", mapsto: "↦" },
  ...{ Rightarrow: "⇒", implies: "⟹", iff: "⟺", Leftrightarrow: "⇔", leftrightarrow: "↔" },
  ...{ uparrow: "↑", downarrow: "↓", longrightarrow: "⟶", gets: "←", nearrow: "↗", searrow: "↘" },
  ...{ sum: "∑", prod: "∏", int: "∫", oint: "∮", partial: "∂", nabla: "∇", infty: "∞", angle: "∠" },
  ...{ triangle: "△", degree: "°", prime: "′", ldots: "…", dots: "…", cdots: "⋯", vdots: "⋮", ddots: "⋱" },
  ...{ therefore: "∴", because: "∵", oplus: "⊕", otimes: "⊗", checkmark: "✓", ell: "ℓ", hbar: "ℏ" },
  ...{ langle: "⟨", rangle: "⟩", lfloor: "⌊", rfloor: "⌋", lceil: "⌈", rceil: "⌉", lvert: "|", rvert: "|" },
  ...{ alpha: "α", beta: "β", gamma: "γ", delta: "δ", epsilon: "ϵ", varepsilon: "ε", zeta: "ζ", eta: "η" },
  ...{ theta: "θ", iota: "ι", kappa: "κ", lambda: "λ", mu: "μ", nu: "ν", xi: "ξ", pi: "π", rho: "ρ" },
  ...{ sigma: "σ", tau: "τ", upsilon: "υ", phi: "ϕ", varphi: "φ", chi: "χ", psi: "ψ", omega: "ω" },
  ...{ Gamma: "Γ", Delta: "Δ", Theta: "Θ", Lambda: "Λ", Xi: "Ξ", Pi: "Π", Sigma: "Σ", Phi: "Φ", Psi: "Ψ" },
  ...{ Omega: "Ω", Re: "ℜ", Im: "ℑ", "|": "∥" },
};

/** Functions that are written out. */
export const WORDS = new Set(
  "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh log ln exp lim max min gcd lcm mod det dim deg arg".split(
    " ",
  ),
);
