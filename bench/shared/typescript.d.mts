/** What `node --import` takes to run TypeScript. */
export const typescriptLoader: string
