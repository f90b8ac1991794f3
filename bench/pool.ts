/**
 * The pool monitor: what a checkout costs beside a bare pool, and what a crash of the server costs both.
 *
 * npm run bench -- pool [--json] [--quick] [--only <table>,...]
 */
import { checkout, query } from './pool/checkout.ts'
import { outage } from './pool/outage.ts'
import { onPostgres, runSections } from './shared/sections.ts'

await runSections({
  sections: {
    checkout,
    query,
    outage,
  },
  open: onPostgres,
})
