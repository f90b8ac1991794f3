/**
 * The loader: how calls come together, what its statements cost beside others, and what it costs a key.
 *
 * npm run bench -- loader [--json] [--quick] [--only <table>,...]
 */
import { keys } from './loader/keys.ts'
import { scheduling } from './loader/scheduling.ts'
import { statements } from './loader/statements.ts'
import { onPostgres, runSections } from './shared/sections.ts'

await runSections({
  sections: {
    keys,
    statements,
    scheduling,
  },
  open: onPostgres,
})
