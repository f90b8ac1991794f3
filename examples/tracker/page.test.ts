import axe, { type AxeResults } from 'axe-core'
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { needs } from '../../test/helpers/require.ts'
import { at, fixAt, useTracker } from './test-tracker.ts'

const flags = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

await needs('chromium', (executablePath) => {
  const http = useTracker()
  let browser: Browser

  beforeAll(async () => {
    browser = await chromium.launch({ executablePath, args: flags })
  })
  afterAll(() => browser.close())

  beforeEach(async () => {
    const hour = (start: string) => [fixAt(at(start)), fixAt(new Date(at(start).getTime() + 3_600_000))]
    await http.addFlight({
      pilot: 'p-1',
      name: 'Ann Keller',
      createdAt: at('12 09:00'),
      fixes: hour('12 09:00'),
    })
    await http.addFlight({
      pilot: 'p-1',
      name: 'Ann Keller',
      source: 'upload',
      createdAt: at('11 12:00'),
      fixes: hour('11 09:00'),
    })
    await http.addFlight({
      pilot: 'p-2',
      name: '<img src=x onerror=alert(1)>',
      createdAt: at('10 09:00'),
      fixes: [fixAt(at('10 09:00'), { lat: 0, lon: 0, elevation: 0 })],
    })
  })

  /** The page in a browser of its own, with every request that it made and every complaint of the browser. */
  async function open(
    use: (page: Page, seen: { requests: string[]; complaints: string[] }) => Promise<void>,
    path = '/',
    options: BrowserContextOptions = {},
  ) {
    const context = await browser.newContext({ locale: 'en-GB', timezoneId: 'UTC', ...options })
    const page = await context.newPage()
    page.setDefaultTimeout(10_000)
    const seen = { requests: [] as string[], complaints: [] as string[] }
    page.on('request', (request) => seen.requests.push(request.url().replace(http.origin, '')))
    page.on('pageerror', (error) => seen.complaints.push(error.message))
    page.on('console', (message) => {
      if (message.type() === 'error' || message.type() === 'warning') seen.complaints.push(message.text())
    })
    try {
      await page.goto(http.origin + path)
      await use(page, seen)
    } finally {
      await context.close()
    }
  }

  const pilot = (page: Page, id: string) => page.locator(`[data-pilot="${id}"]`)
  const toggle = (page: Page, id: string) => pilot(page, id).getByRole('button').first()
  const focused = (page: Page) => page.locator(':focus').textContent()
  const choose = (page: Page, source: string) => page.getByRole('radio', { name: source }).check()
  const listed = (page: Page) => page.locator('.pilot strong').allTextContents()
  const loaded = (page: Page) => page.locator('#pilots[aria-busy=false]').waitFor({ state: 'attached' })

  describe('the page', () => {
    test('shows the list of pilots first, by one request, with the totals', async () => {
      await open(async (page, { requests, complaints }) => {
        await loaded(page)
        expect(await listed(page)).toEqual(['Ann Keller', '<img src=x onerror=alert(1)>'])
        expect(await page.locator('[data-total=pilots]').textContent()).toBe('2')
        expect(await page.locator('[data-total=flights]').textContent()).toBe('3')
        expect(await page.locator('[data-total=latest]').textContent()).toBe('12 Aug 2025, 10:00')
        expect(await page.locator('.flight').count()).toBe(0)
        expect(requests.filter((path) => path.startsWith('/api'))).toEqual(['/api/tracker-summary'])
        expect(complaints).toEqual([])
      })
    })

    test('asks for a pilot’s flights when the pilot is expanded, and lets go of them when collapsed', async () => {
      await open(async (page, { requests }) => {
        await toggle(page, 'p-1').click()
        await pilot(page, 'p-1').locator('.flight').first().waitFor()
        expect(await pilot(page, 'p-1').locator('.flight').allInnerTexts()).toEqual([
          expect.stringContaining('Tue, 12 Aug 2025'),
          expect.stringContaining('Mon, 11 Aug 2025'),
        ])
        expect(await pilot(page, 'p-1').locator('.badge').allTextContents()).toEqual(['live', 'upload'])
        expect(await pilot(page, 'p-1').locator('.flight').first().textContent()).toContain('1 h 00 min')

        await toggle(page, 'p-1').click()
        expect(await page.locator('.flight').count()).toBe(0)
        expect(await toggle(page, 'p-1').getAttribute('aria-expanded')).toBe('false')

        await toggle(page, 'p-1').click()
        await pilot(page, 'p-1').locator('.flight').first().waitFor()
        expect(requests.filter((path) => path.startsWith('/api/pilot'))).toEqual([
          '/api/pilot/p-1/flights',
          '/api/pilot/p-1/flights',
        ])
      })
    })

    test('shows a place on the equator and a height of 0 as what they are', async () => {
      await open(async (page) => {
        await toggle(page, 'p-2').click()
        await pilot(page, 'p-2').locator('.flight').waitFor()
        expect(await pilot(page, 'p-2').locator('.places dd').first().textContent()).toBe(
          '0.0000, 0.0000 · 0 m',
        )
      })
    })

    test('shows names as text, whatever they hold', async () => {
      await open(async (page, { complaints }) => {
        await loaded(page)
        expect(await page.locator('#pilots img').count()).toBe(0)
        expect(complaints).toEqual([])
      })
    })

    test('filters by source and by time, and keeps the filter in its address', async () => {
      await open(async (page) => {
        await loaded(page)
        await choose(page, 'Upload')
        await page.locator('[data-total=flights]', { hasText: '1' }).waitFor()
        expect(await listed(page)).toEqual(['Ann Keller'])
        await toggle(page, 'p-1').click()
        await pilot(page, 'p-1').locator('.flight').first().waitFor()
        expect(await pilot(page, 'p-1').locator('.badge').allTextContents()).toEqual(['upload'])

        await choose(page, 'All')
        await page.getByLabel('From', { exact: true }).fill('2025-08-09T00:00')
        await page.getByLabel('To', { exact: true }).fill('2025-08-11T00:00')
        await page.getByRole('button', { name: 'Show' }).click()
        await page.locator('[data-total=flights]', { hasText: '1' }).waitFor()
        expect(await listed(page)).toEqual(['<img src=x onerror=alert(1)>'])

        await page.reload()
        await loaded(page)
        expect(await listed(page)).toEqual(['<img src=x onerror=alert(1)>'])
        expect(await page.getByLabel('From', { exact: true }).inputValue()).toBe('2025-08-09T00:00')

        await page.getByRole('button', { name: 'Whole race' }).click()
        await page.locator('[data-total=flights]', { hasText: '3' }).waitFor()
        expect(new URL(page.url()).search).toBe('')
      })
    })

    test('takes the times that are typed in as those of the viewer’s zone', async () => {
      await open(
        async (page, { requests }) => {
          await loaded(page)
          await page.getByLabel('From', { exact: true }).fill('2025-08-09T02:00')
          await page.getByRole('button', { name: 'Show' }).click()
          const time = encodeURIComponent('2025-08-09T00:00:00.000Z')
          await expect.poll(() => requests.filter((path) => path.startsWith('/api')).at(-1)).toContain(time)
        },
        '/',
        { timezoneId: 'Europe/Zurich' },
      )
    })

    test('says so when nobody flew, and offers the whole race', async () => {
      await open(async (page) => {
        await page.getByText('Nobody flew in this time.').waitFor()
        await page.getByRole('button', { name: 'Show the whole race' }).click()
        await pilot(page, 'p-1').waitFor()
        expect(await page.getByText('Nobody flew in this time.').count()).toBe(0)
      }, '/?opentime=2024-01-01T00:00:00Z&closetime=2024-01-02T00:00:00Z')
    })

    test('shows what the service says when it refuses, and tries again', async () => {
      await open(async (page) => {
        await page.getByRole('alert').getByText("Source must be 'live' or 'upload', got \"radar\".").waitFor()
        await page.getByRole('button', { name: 'Whole race' }).click()
        await pilot(page, 'p-1').waitFor()
        expect(await page.locator('#problem').textContent()).toBe('')
      }, '/?source=radar')
    })

    test('says so while it loads, and when the service cannot be reached, also for one pilot', async () => {
      await open(async (page) => {
        await loaded(page)
        let fail = true
        await page.route('**/api/**', async (route) => {
          if (fail) await route.abort()
          else await route.continue()
        })
        await toggle(page, 'p-1').click()
        await pilot(page, 'p-1').getByText('The tracker cannot be reached.').waitFor()
        fail = false
        await pilot(page, 'p-1').getByRole('button', { name: 'Try again' }).click()
        await pilot(page, 'p-1').locator('.flight').first().waitFor()

        fail = true
        await page.getByRole('button', { name: 'Refresh' }).click()
        await page.locator('#problem').getByText('The tracker cannot be reached.').waitFor()
        fail = false
        let release: () => void = () => undefined
        const held = new Promise<void>((resolve) => {
          release = resolve
        })
        await page.route('**/api/tracker-summary', async (route) => {
          await held
          await route.continue()
        })
        await page.locator('#problem').getByRole('button', { name: 'Try again' }).click()
        await page.locator('#pilots[aria-busy=true] .skeleton').first().waitFor()
        expect(await page.getByRole('status').textContent()).toBe('Loading …')
        release()
        await pilot(page, 'p-1').waitFor()
        expect(await page.locator('.skeleton').count()).toBe(0)
      })
    })

    test('refreshes without closing what is expanded or taking the focus, and without what is typed', async () => {
      await open(async (page) => {
        await toggle(page, 'p-2').click()
        await pilot(page, 'p-2').locator('.flight').waitFor()
        await page.getByLabel('To', { exact: true }).fill('2025-08-30T00:00')
        await toggle(page, 'p-2').focus()
        // A new flight puts the pilot on top.
        const { body } = await http.post<{ flight_uuid: string }>('/tracking/live', {
          flight_id: `refresh in ${http.raceId}`,
          pilot_id: 'p-2',
          pilot_name: 'Bob',
          points: [fixAt(at('20 09:00'))],
        })
        await http.database.pool.query('update flights set created_at = $2 where id = $1', [
          body.flight_uuid,
          at('20 09:00'),
        ])
        http.tracker.cache.clear()
        await page.evaluate(`document.querySelector('#refresh').click()`)
        await expect.poll(() => listed(page)).toEqual(['Bob', 'Ann Keller'])
        await expect.poll(() => pilot(page, 'p-2').locator('.flight').count()).toBe(2)
        expect(await focused(page)).toContain('p-2')
        expect(await page.getByLabel('To', { exact: true }).inputValue()).toBe('2025-08-30T00:00')
      })
    })

    test('refreshes every 30 seconds while somebody sees it', async () => {
      const context = await browser.newContext()
      const page = await context.newPage()
      let lists = 0
      page.on('request', (request) => {
        if (request.url().includes('/api/tracker-summary')) lists += 1
      })
      const show = (state: string) =>
        page.evaluate(`Object.defineProperty(document, 'visibilityState', { value: '${state}', configurable: true })
          document.dispatchEvent(new Event('visibilitychange'))`)
      await page.clock.install()
      await page.goto(http.origin)
      await loaded(page)
      await page.clock.runFor(28_000)
      expect(lists).toBe(1)
      await page.clock.runFor(4_000)
      await expect.poll(() => lists).toBe(2)
      await loaded(page)

      await show('hidden')
      await page.clock.runFor(120_000)
      expect(lists).toBe(2)
      await show('visible')
      await expect.poll(() => lists).toBe(3)
      await context.close()
    })

    test('can be used by keyboard alone', async () => {
      await open(async (page) => {
        await loaded(page)
        await page.keyboard.press('Tab')
        expect(await focused(page)).toBe('Skip to the pilots')
        await page.keyboard.press('Enter')
        await page.keyboard.press('Tab')
        expect(await focused(page)).toContain('p-1')
        await page.keyboard.press('Enter')
        await pilot(page, 'p-1').locator('.flight').first().waitFor()
        await page.keyboard.press('Tab')
        await page.keyboard.press('Space')
        await pilot(page, 'p-2').locator('.flight').first().waitFor()
      })
    })

    test('tells a screen reader what each part is', async () => {
      await open(async (page) => {
        await toggle(page, 'p-1').click()
        await pilot(page, 'p-1').locator('.flight').first().waitFor()
        expect(await page.locator('main').ariaSnapshot()).toMatchInlineSnapshot(`
          "- main:
            - form "Which flights":
              - text: From
              - textbox "From": 2025-08-01T00:00
              - text: To
              - textbox "To": 2025-09-01T00:00
              - group "Source":
                - text: Source
                - radio "All" [checked]
                - text: All
                - radio "Live"
                - text: Live
                - radio "Upload"
                - text: Upload
              - button "Show"
              - button "Whole race"
            - term: Pilots
            - definition: "2"
            - term: Flights
            - definition: "3"
            - term: First fix
            - definition: 10 Aug 2025, 09:00
            - term: Last fix
            - definition: 12 Aug 2025, 10:00
            - region "Pilots":
              - heading "Pilots" [level=2]
              - status
              - alert
              - list:
                - listitem:
                  - heading "Ann Keller p-1 2 flights 12 Aug 2025, 10:00" [level=3]:
                    - button "Ann Keller p-1 2 flights 12 Aug 2025, 10:00" [expanded]:
                      - strong: Ann Keller
                      - text: p-1 2 flights
                      - time: 12 Aug 2025, 10:00
                  - region "Flights of Ann Keller":
                    - list:
                      - listitem:
                        - paragraph: Tue, 12 Aug 2025 09:00 to 10:00
                        - text: live
                        - paragraph: 1 h 00 min 0.0 km away
                        - term: Take-off
                        - definition: 45.8000, 11.7000 · 800 m
                        - term: Landing
                        - definition: 45.8000, 11.7000 · 800 m
                      - listitem:
                        - paragraph: Mon, 11 Aug 2025 09:00 to 10:00
                        - text: upload
                        - paragraph: 1 h 00 min 0.0 km away
                        - term: Take-off
                        - definition: 45.8000, 11.7000 · 800 m
                        - term: Landing
                        - definition: 45.8000, 11.7000 · 800 m
                - listitem:
                  - heading "<img src=x onerror=alert(1)> p-2 1 flight 10 Aug 2025, 09:00" [level=3]:
                    - button "<img src=x onerror=alert(1)> p-2 1 flight 10 Aug 2025, 09:00":
                      - strong: <img src=x onerror=alert(1)>
                      - text: p-2 1 flight
                      - time: 10 Aug 2025, 09:00"
        `)
      })
    })

    test('names the 100 pilots that it shows of more', async () => {
      await http.database.pool.query(
        `insert into flights (flight_id, race_id, pilot_id, pilot_name, source, created_at, first_fix, last_fix, total_points)
         select 'page-many-' || number, $1, 'many-' || number, 'Pilot ' || number, 'live', $2::timestamptz, fix, fix, 1
         from generate_series(1, 128) number,
           jsonb_build_object('datetime', $2::timestamptz, 'lat', 1, 'lon', 1, 'elevation', null) fix`,
        [http.raceId, at('10 09:00')],
      )
      await open(async (page) => {
        await loaded(page)
        expect(await page.getByRole('status').textContent()).toBe('the 100 who were last active, of 130')
        expect(await page.locator('.pilot').count()).toBe(100)
      })
    })

    test('names the 20 flights that it shows of more', async () => {
      for (let day = 1; day <= 21; day += 1) {
        const start = at(`${day} 07:00`)
        await http.addFlight({ pilot: 'p-2', createdAt: start, fixes: [fixAt(start)] })
      }
      await open(async (page) => {
        await toggle(page, 'p-2').click()
        await pilot(page, 'p-2').getByText('the 20 most recent of 22 flights').waitFor()
        expect(await pilot(page, 'p-2').locator('.flight').count()).toBe(20)
      })
    })

    test.each([
      ['a desktop', { viewport: { width: 1_280, height: 900 } }],
      ['a tablet', { viewport: { width: 800, height: 1_000 } }],
      ['a phone', { viewport: { width: 360, height: 740 }, hasTouch: true }],
    ])('fits %s, with targets large enough for a finger', async (_, options) => {
      await open(
        async (page) => {
          await toggle(page, 'p-1').click()
          await pilot(page, 'p-1').locator('.flight').first().waitFor()
          const width = await page.evaluate<number>('document.documentElement.scrollWidth')
          expect(width).toBeLessThanOrEqual(options.viewport.width)
          for (const button of await page.getByRole('button').all())
            expect((await button.boundingBox())?.height).toBeGreaterThanOrEqual(44)
        },
        '/',
        options,
      )
    })

    test.each(['light', 'dark'] as const)(
      'has no fault that axe finds, in the %s scheme',
      async (colorScheme) => {
        await open(
          async (page) => {
            await toggle(page, 'p-1').click()
            await pilot(page, 'p-1').locator('.flight').first().waitFor()
            await page.evaluate(axe.source)
            const { violations } = await page.evaluate<AxeResults>('axe.run()')
            expect(
              violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`),
            ).toEqual([])
          },
          '/',
          { colorScheme },
        )
      },
    )

    test('comes with a policy that lets nothing in from elsewhere, and no inline script or style', async () => {
      const response = await fetch(http.origin)
      const policy = response.headers.get('content-security-policy')
      expect(policy).toContain("default-src 'none'")
      expect(policy).not.toMatch(/unsafe|\*|https?:/)
      const html = await response.text()
      expect(html).not.toMatch(/<style|style=|<script(?![^>]* src=)| on[a-z]+=/)
      const again = await fetch(http.origin, {
        headers: { 'if-none-match': response.headers.get('etag') ?? '' },
      })
      expect(again.status).toBe(304)
    })

    test('shows everything again and again in the same memory', async () => {
      await open(async (page) => {
        await loaded(page)
        const nodes = () => page.locator('*').count()
        const before = await nodes()
        for (let round = 0; round < 10; round += 1) {
          await toggle(page, 'p-1').click()
          await pilot(page, 'p-1').locator('.flight').first().waitFor()
          await toggle(page, 'p-1').click()
        }
        expect(await nodes()).toBe(before)
      })
    })
  })
})
