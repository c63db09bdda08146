/**
 * Of Node, for every engine alike: the code that was compiled when the image was built is valid for these. What an engine
 * holds is bounded by its own budget; a heap that is larger than this is a fault.
 */
export const ENGINE_FLAGS = [
  '--max-semi-space-size=4',
  '--max-old-space-size=384',
  '--disable-warning=DEP0169',
] as const;
