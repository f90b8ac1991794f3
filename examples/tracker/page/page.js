// The list of pilots first; a pilot's flights only while that pilot is expanded. What is not shown is not kept.

const REFRESH_MS = 30_000
const MAX_FLIGHTS = 20

const form = document.querySelector('#filters')
const list = document.querySelector('#pilots')
const problem = document.querySelector('#problem')
const status = document.querySelector('#status')

const counts = new Intl.NumberFormat()
const dateAndTime = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' })
const date = new Intl.DateTimeFormat(undefined, {
  weekday: 'short',
  day: 'numeric',
  month: 'short',
  year: 'numeric',
})
const time = new Intl.DateTimeFormat(undefined, { timeStyle: 'short' })

/** The filter that is shown, as the service's parameters; empty is the whole race. */
let filter = new URLSearchParams(location.search)
/** Ends what is still loading for a filter that is no longer shown. */
let loading = new AbortController()
/** The pilots on the page, by id, in their order. */
const pilots = new Map()

function element(tag, properties = {}, ...children) {
  const { dataset, ...rest } = properties
  const made = Object.assign(document.createElement(tag), rest)
  Object.assign(made.dataset, dataset)
  made.append(...children)
  return made
}

async function getJson(path, signal) {
  let response
  try {
    response = await fetch(filter.size === 0 ? path : `${path}?${filter}`, { signal })
  } catch (error) {
    if (signal.aborted) throw error
    throw new Error('The tracker cannot be reached.')
  }
  const body = await response.json().catch(() => ({}))
  if (!response.ok) throw new Error(sentence(body.message ?? `The tracker answered ${response.status}.`))
  return body
}

const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? '' : '.'}`

// The list of pilots

/** Shows what the filter asks for; `quietly` leaves what is there until the new list has come. */
async function show({ quietly = false } = {}) {
  loading.abort()
  loading = new AbortController()
  const { signal } = loading
  list.ariaBusy = 'true'
  if (!quietly) {
    removePilots()
    problem.replaceChildren()
    list.append(...skeletons(6))
    status.textContent = 'Loading …'
  }
  try {
    const { summary, pilots: rows } = await getJson('/api/tracker-summary', signal)
    for (const skeleton of list.querySelectorAll(':scope > .skeleton')) skeleton.remove()
    problem.replaceChildren()
    showTotals(summary)
    // What somebody is typing stays.
    if (!quietly) showRange(summary.time_range)
    showPilots(rows, summary)
  } catch (error) {
    if (signal.aborted) return
    removePilots()
    showTotals()
    status.textContent = ''
    problem.replaceChildren(notice(error.message, 'Try again', () => show(), 'problem'))
  }
  list.ariaBusy = 'false'
}

function showTotals(summary) {
  const values = {
    pilots: summary && counts.format(summary.total_pilots),
    flights: summary && counts.format(summary.total_flights),
    earliest: summary?.earliest_activity && dateAndTime.format(new Date(summary.earliest_activity)),
    latest: summary?.latest_activity && dateAndTime.format(new Date(summary.latest_activity)),
  }
  for (const [name, value] of Object.entries(values))
    document.querySelector(`[data-total=${name}]`).textContent = value ?? '–'
}

function showRange({ start, end }) {
  form.elements.opentime.value = toLocalInput(start)
  form.elements.closetime.value = toLocalInput(end)
}

/** Brings the list to these rows; a pilot who stays keeps the element, and so stays expanded and in focus. */
function showPilots(rows, summary) {
  const focused = document.activeElement
  const ids = new Set(rows.map((row) => row.pilot_id))
  for (const [id, pilot] of pilots) {
    if (!ids.has(id)) pilot.remove()
  }
  for (const row of rows) {
    const pilot = pilots.get(row.pilot_id) ?? new Pilot(row)
    pilots.set(row.pilot_id, pilot)
    pilot.update(row)
    list.append(pilot.item)
  }
  if (focused !== document.activeElement && list.contains(focused)) focused.focus({ preventScroll: true })

  const { total_pilots } = summary
  status.textContent =
    total_pilots > rows.length
      ? `the ${counts.format(rows.length)} who were last active, of ${counts.format(total_pilots)}`
      : ''
  if (rows.length === 0)
    problem.replaceChildren(notice('Nobody flew in this time.', 'Show the whole race', reset))
}

function removePilots() {
  for (const pilot of pilots.values()) pilot.remove()
  list.replaceChildren()
}

function skeletons(count) {
  return Array.from({ length: count }, () => element('li', { className: 'skeleton', ariaHidden: 'true' }))
}

function notice(text, action, onAction, kind = '') {
  const button = element('button', { className: 'quiet', type: 'button', onclick: onAction }, action)
  return element('div', { className: `notice ${kind}` }, element('span', {}, text), button)
}

// One pilot

let lastNumber = 0

class Pilot {
  constructor(row) {
    this.id = row.pilot_id
    this.panelId = `flights-${++lastNumber}`
    this.name = element('strong')
    this.count = element('span', { className: 'count' })
    this.when = element('time', { className: 'when' })
    this.initials = element('span', { className: 'initials', ariaHidden: 'true' })
    this.button = element(
      'button',
      { type: 'button', ariaExpanded: 'false', onclick: () => this.toggle() },
      this.initials,
      element('span', { className: 'who' }, this.name, element('small', {}, this.id)),
      this.count,
      this.when,
      element('span', { className: 'chevron', ariaHidden: 'true' }),
    )
    this.button.setAttribute('aria-controls', this.panelId)
    this.panel = element('div', { id: this.panelId, className: 'flights', hidden: true, role: 'region' })
    this.item = element(
      'li',
      { className: 'pilot', dataset: { pilot: this.id } },
      element('h3', {}, this.button),
      this.panel,
    )
  }

  get expanded() {
    return this.button.ariaExpanded === 'true'
  }

  update(row) {
    const changed =
      row.last_activity !== this.row?.last_activity || row.flight_count !== this.row?.flight_count
    this.row = row
    this.name.textContent = row.pilot_name
    this.initials.textContent = initialsOf(row.pilot_name)
    this.count.textContent = `${counts.format(row.flight_count)} ${row.flight_count === 1 ? 'flight' : 'flights'}`
    this.when.dateTime = row.last_activity
    this.when.textContent = dateAndTime.format(new Date(row.last_activity))
    this.panel.ariaLabel = `Flights of ${row.pilot_name}`
    if (this.expanded && changed) this.load({ quietly: true })
  }

  toggle() {
    if (this.expanded) this.collapse()
    else {
      this.button.ariaExpanded = 'true'
      this.panel.hidden = false
      this.load()
    }
  }

  collapse() {
    this.loading?.abort()
    this.button.ariaExpanded = 'false'
    this.panel.hidden = true
    this.panel.replaceChildren()
  }

  remove() {
    this.loading?.abort()
    this.item.remove()
    pilots.delete(this.id)
  }

  async load({ quietly = false } = {}) {
    this.loading?.abort()
    this.loading = new AbortController()
    const { signal } = this.loading
    this.panel.ariaBusy = 'true'
    if (!quietly) this.panel.replaceChildren(element('ul', { ariaLabel: 'Loading …' }, ...skeletons(1)))
    try {
      const { flights } = await getJson(`/api/pilot/${encodeURIComponent(this.id)}/flights`, signal)
      this.panel.replaceChildren(...this.flightElements(flights))
    } catch (error) {
      if (signal.aborted) return
      const again = notice(error.message, 'Try again', () => this.load(), 'problem')
      again.role = 'alert'
      this.panel.replaceChildren(again)
    }
    this.panel.ariaBusy = 'false'
  }

  flightElements(flights) {
    if (flights.length === 0) return [element('p', { className: 'note' }, 'No flights in this time.')]
    const items = element('ul', {}, ...flights.map(flightElement))
    const isCut = flights.length === MAX_FLIGHTS && this.row.flight_count > flights.length
    if (!isCut) return [items]
    const text = `the ${MAX_FLIGHTS} most recent of ${counts.format(this.row.flight_count)} flights`
    return [items, element('p', { className: 'note' }, text)]
  }
}

const initialsOf = (name) => {
  const words = name.split(/\s+/).filter((word) => word !== '')
  return [words[0], words.length > 1 ? words.at(-1) : undefined]
    .map((word) => [...(word ?? '')][0] ?? '')
    .join('')
}

function flightElement(flight) {
  const start = new Date(flight.first_fix.datetime)
  const end = new Date(flight.last_fix.datetime)
  return element(
    'li',
    { className: 'flight', dataset: { flight: flight.uuid } },
    element(
      'p',
      { className: 'numbers' },
      date.format(start),
      small(`${time.format(start)} to ${time.format(end)}`),
    ),
    element('span', { className: `badge ${flight.source}` }, flight.source),
    element(
      'p',
      { className: 'numbers' },
      formatDuration(flight.duration_seconds),
      small(`${(distance(flight.first_fix, flight.last_fix) / 1_000).toFixed(1)} km away`),
    ),
    element(
      'dl',
      { className: 'places' },
      element('dt', {}, 'Take-off'),
      element('dd', {}, place(flight.first_fix)),
      element('dt', {}, 'Landing'),
      element('dd', {}, place(flight.last_fix)),
    ),
  )
}

const small = (text) => element('small', {}, text)

function formatDuration(seconds) {
  const minutes = Math.round(seconds / 60)
  return minutes < 60
    ? `${minutes} min`
    : `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, '0')} min`
}

// A coordinate or a height of 0 is one like any other; only what is missing is left out.
function place({ lat, lon, elevation }) {
  const height = elevation === null ? '' : ` · ${counts.format(Math.round(elevation))} m`
  return `${lat.toFixed(4)}, ${lon.toFixed(4)}${height}`
}

/** Metres along a great circle (haversine). */
function distance(from, to) {
  const radians = (degrees) => (degrees * Math.PI) / 180
  const halfChord =
    Math.sin(radians(to.lat - from.lat) / 2) ** 2 +
    Math.cos(radians(from.lat)) * Math.cos(radians(to.lat)) * Math.sin(radians(to.lon - from.lon) / 2) ** 2
  return 2 * 6_371_008.8 * Math.asin(Math.min(1, Math.sqrt(halfChord)))
}

// Filters

/** A time as a datetime-local field has it, in the viewer's own zone. */
function toLocalInput(text) {
  const moment = new Date(text)
  return new Date(moment.getTime() - moment.getTimezoneOffset() * 60_000).toISOString().slice(0, 16)
}

function readFilters() {
  const read = new URLSearchParams()
  for (const name of ['opentime', 'closetime']) {
    const { value } = form.elements[name]
    if (value !== '') read.set(name, new Date(value).toISOString())
  }
  const { value: source } = form.elements.source
  if (source !== '') read.set('source', source)
  return read
}

function apply(next) {
  filter = next
  history.replaceState(null, '', filter.size === 0 ? location.pathname : `?${filter}`)
  show()
}

function reset() {
  form.elements.source.value = ''
  apply(new URLSearchParams())
}

form.addEventListener('submit', (event) => {
  event.preventDefault()
  apply(readFilters())
})
for (const choice of form.elements.source) choice.addEventListener('change', () => apply(readFilters()))
document.querySelector('#reset').addEventListener('click', reset)
document.querySelector('#refresh').addEventListener('click', () => show({ quietly: true }))

// A tab that nobody sees asks for nothing; once seen again, it is brought up to date.
let shownAt = 0
const refreshIfDue = () => {
  if (document.visibilityState !== 'visible' || performance.now() - shownAt < REFRESH_MS) return
  shownAt = performance.now()
  if (list.ariaBusy !== 'true') show({ quietly: true })
}
setInterval(refreshIfDue, 1_000)
document.addEventListener('visibilitychange', refreshIfDue)

form.elements.source.value = filter.get('source') ?? ''
document.querySelector('#zone').textContent =
  `Times are in your time zone (${Intl.DateTimeFormat().resolvedOptions().timeZone}).`
shownAt = performance.now()
show()
