/**
 * The guard: what it costs a statement, on a stub and by itself, and what its cap on rows saves.
 *
 * npm run bench -- guard [--json] [--quick] [--only <table>,...]
 */
import { capped, sorted } from './guard/cap.ts'
import { hooks, onStub } from './guard/overhead.ts'
import { onPostgres, runSections } from './shared/sections.ts'

await runSections({
  sections: {
    hooks,
    stub: onStub,
    cap: capped,
    sorted,
  },
  open: onPostgres,
})
