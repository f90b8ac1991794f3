/**
 * Keyset pages beside OFFSET and the OR form, and streams of a million rows beside pg-cursor, pg-query-stream and all at once.
 *
 * npm run bench -- page [--json] [--quick] [--only <table>,...]
 */
import { makeBags } from './page/bags.ts'
import { pages } from './page/pages.ts'
import { streams } from './page/streams.ts'
import { totals } from './page/totals.ts'
import { onPostgres, runSections } from './shared/sections.ts'

await runSections({
  sections: { pages, totals, streams },
  async open(scope, progress) {
    const run = await onPostgres(scope, progress)
    run.show('making the tables')
    await scope.use(
      () => makeBags(run.url),
      (drop) => drop(),
    )
    return run
  },
})
