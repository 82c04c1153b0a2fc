/** In place of modules that the shells of the codecs import for other platforms, and never call in a browser. */
export default {};
