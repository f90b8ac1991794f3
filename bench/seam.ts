/**
 * The seam: what an observed statement costs beside a bare one, and what bounds at the protocol save.
 *
 * npm run bench -- seam [--json] [--quick] [--only <table>,...]
 */
import { bounds } from './seam/bounds.ts'
import { onDatabase, onStub } from './seam/overhead.ts'
import { onPostgres, runSections } from './shared/sections.ts'

await runSections({
  sections: {
    stub: onStub,
    database: onDatabase,
    bounds,
  },
  open: onPostgres,
})
