import axe, { type AxeResults } from 'axe-core'
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { needs } from '../../test/helpers/require.ts'
import { controller, pilot, snapshot, useAirTraffic } from './test-air-traffic.ts'

const flags = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--no-first-run',
  '--disable-background-networking',
]

await needs('chromium', (executablePath) => {
  const http = useAirTraffic()
  let browser: Browser
  beforeAll(async () => {
    browser = await chromium.launch({ executablePath, args: flags })
  })
  afterAll(() => browser.close())
  beforeEach(async () => {
    await http.report(
      snapshot(
        '10:00',
        [
          pilot('10:00', { callsign: '<b>X', latitude: 0, longitude: 0 }),
          pilot('10:00', { cid: 2, callsign: 'ANZ7', groundspeed: 0, flight_plan: {} }),
          pilot('10:00', { cid: 3, callsign: 'ANZ7' }),
        ],
        [controller('10:00')],
      ),
    )
  })

  async function open(
    use: (page: Page, seen: { hosts: Set<string>; complaints: string[] }) => Promise<void>,
    options: BrowserContextOptions = {},
  ) {
    const context = await browser.newContext({ locale: 'en-GB', timezoneId: 'UTC', ...options })
    const page = await context.newPage()
    page.setDefaultTimeout(10_000)
    const seen = { hosts: new Set<string>(), complaints: [] as string[] }
    page.on('request', (request) => seen.hosts.add(new URL(request.url()).origin))
    page.on('pageerror', (error) => seen.complaints.push(error.message))
    page.on('console', (message) => {
      if (message.type() === 'error' || message.type() === 'warning') seen.complaints.push(message.text())
    })
    try {
      await page.goto(http.origin)
      await page.locator('#flights tr').first().waitFor()
      await page.locator('[data-total=flights]', { hasText: /\d/ }).waitFor()
      await use(page, seen)
    } finally {
      await context.close()
    }
  }

  describe('the page', () => {
    test('shows the traffic of this moment as text, and asks nobody but its service', async () => {
      await open(async (page, { hosts, complaints }) => {
        expect(await page.locator('#totals dd').allTextContents()).toEqual(['2', '1', '1', '3', '0'])
        expect(await page.locator('#flights tr').allInnerTexts()).toEqual([
          '<b>X\tYAAA\tYBBB\tairborne\t35,000\t450',
          'ANZ7\t–\t–\tpreflight\t35,000\t0',
          'ANZ7\tYAAA\tYBBB\tairborne\t35,000\t450',
        ])
        expect(await page.locator('#feed').textContent()).toBe('The feed was last seen at 10:00:00.')
        expect([...hosts]).toEqual([http.origin])
        expect(complaints).toEqual([])
      })
    })

    test('finds flights by callsign and by airport', async () => {
      await open(async (page) => {
        await page.getByLabel('Find').fill('anz')
        expect(await page.locator('#shown').textContent()).toBe('2 of 2 flights')
        await page.getByLabel('Find').fill('ybbb')
        expect(await page.locator('#shown').textContent()).toBe('2 of 2 flights')
        await page.getByLabel('Find').fill('nothing')
        expect(await page.locator('#flights tr').count()).toBe(0)
      })
    })

    test('asks the feed when somebody wants to, and says when the feed fails', async () => {
      await open(async (page) => {
        http.feed.answer = async () => snapshot('10:01', [pilot('10:01', { callsign: 'NEW1', cid: 9 })])
        const button = page.getByRole('button', { name: 'Ask the feed now' })
        await button.click()
        await page.locator('#flights th', { hasText: 'NEW1' }).waitFor()
        http.feed.answer = async () => {
          throw new Error('no feed')
        }
        await button.click()
        await page.getByRole('alert').getByText('the feed does not answer as it should').waitFor()
      })
    })

    test.each([
      ['light, on a desktop', { colorScheme: 'light', viewport: { width: 1_280, height: 900 } }],
      ['dark, on a phone', { colorScheme: 'dark', viewport: { width: 360, height: 740 } }],
    ] as const)('has no fault that axe finds, %s, and fits', async (_, options) => {
      await open(async (page) => {
        await page.evaluate(axe.source)
        const { violations } = await page.evaluate<AxeResults>('axe.run()')
        expect(
          violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`),
        ).toEqual([])
        const width = await page.evaluate<number>('document.documentElement.scrollWidth')
        expect(width).toBeLessThanOrEqual(options.viewport.width)
      }, options)
    })
  })
})
