import fc from "fast-check";

/** A test that fails must fail again: by default all begin here. */
const START = 20261129;
const asked = process.env.TILEWRIGHT_START;
fc.configureGlobal({ ...fc.readConfigureGlobal(), seed: asked === undefined ? START : Number(asked) });
