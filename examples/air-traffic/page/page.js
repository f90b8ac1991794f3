// One request for the traffic of this moment, which the service has in memory; what is shown is the first hundred.

const REFRESH_MS = 15_000
const MAX_ROWS = 100

const map = document.querySelector('#map')
const rows = document.querySelector('#flights')
const find = document.querySelector('#find')
const problem = document.querySelector('#problem')
const pollButton = document.querySelector('#poll')
const counts = new Intl.NumberFormat()
const time = new Intl.DateTimeFormat(undefined, { timeStyle: 'medium' })

let flights = []

const fill = (selector, text) => {
  document.querySelector(selector).textContent = text
}

async function getJson(path, init) {
  let response
  try {
    response = await fetch(path, init)
  } catch {
    throw new Error('The service cannot be reached.')
  }
  const body = await response.json().catch(() => ({}))
  if (!response.ok) throw new Error(body.message ?? `The service answered ${response.status}.`)
  return body
}

async function show() {
  try {
    const live = await getJson('/api/live')
    flights = live.flights
    const inTheAir = flights.filter(({ status }) => status === 'airborne').length
    fill('[data-total=airborne]', counts.format(inTheAir))
    fill('[data-total=ground]', counts.format(flights.length - inTheAir))
    fill('[data-total=controllers]', counts.format(live.controllers.length))
    fill('#feed', feedText(live.collector))
    drawMap()
    showRows()
    problem.textContent = ''
    // The counts are the database's, which may be away while the rest goes on.
    const status = await getJson('/api/status')
    fill('[data-total=flights]', counts.format(status.flights_count))
    fill('[data-total=movements]', counts.format(status.movements_count))
  } catch (error) {
    problem.textContent = error.message
  }
}

function feedText({ takenAt, breaker, failuresInARow, unwritten }) {
  const seen = takenAt
    ? `The feed was last seen at ${time.format(new Date(takenAt))}`
    : 'The feed was not seen yet'
  const failures = failuresInARow > 0 ? `, and has failed ${failuresInARow} times since` : ''
  const state = breaker.status === 'closed' ? '' : ` (breaker ${breaker.status})`
  const waiting = unwritten > 0 ? `; ${counts.format(unwritten)} records wait to be written` : ''
  return `${seen}${failures}${state}${waiting}.`
}

// A place of 0 and 0 is one like any other; only what is missing is left out.
function drawMap() {
  const context = map.getContext('2d')
  const { color } = getComputedStyle(map)
  const at = (lng, lat) => [((lng + 180) / 360) * map.width, ((90 - lat) / 180) * map.height]
  context.clearRect(0, 0, map.width, map.height)
  context.strokeStyle = color
  context.fillStyle = color
  context.globalAlpha = 0.15
  context.beginPath()
  for (let lng = -150; lng < 180; lng += 30) {
    context.moveTo(...at(lng, 90))
    context.lineTo(...at(lng, -90))
  }
  for (let lat = -60; lat < 90; lat += 30) {
    context.moveTo(...at(-180, lat))
    context.lineTo(...at(180, lat))
  }
  context.stroke()
  for (const { position_lat, position_lng, status } of flights) {
    if (position_lat === null || position_lng === null) continue
    const [x, y] = at(position_lng, position_lat)
    context.globalAlpha = status === 'airborne' ? 0.9 : 0.4
    context.fillRect(x - 2, y - 2, 4, 4)
  }
}

function showRows() {
  const text = find.value.trim().toUpperCase()
  const found = flights
    .filter((flight) =>
      [flight.callsign, flight.departure, flight.arrival].some((name) => name?.includes(text)),
    )
    .sort((a, b) => (a.callsign < b.callsign ? -1 : a.callsign > b.callsign ? 1 : a.cid - b.cid))
  rows.replaceChildren(...found.slice(0, MAX_ROWS).map(rowOf))
  const shown = Math.min(MAX_ROWS, found.length)
  fill('#shown', `${counts.format(shown)} of ${counts.format(found.length)} flights`)
}

function rowOf({ callsign, departure, arrival, status, altitude, speed }) {
  const row = document.createElement('tr')
  const cells = [callsign, departure ?? '–', arrival ?? '–', status, numberOf(altitude), numberOf(speed)]
  cells.forEach((text, index) => {
    const cell = document.createElement(index === 0 ? 'th' : 'td')
    if (index === 0) cell.scope = 'row'
    if (index > 3) cell.className = 'number'
    cell.textContent = text
    row.append(cell)
  })
  return row
}

const numberOf = (value) => (value === null ? '–' : counts.format(value))

find.addEventListener('input', showRows)
pollButton.addEventListener('click', async () => {
  pollButton.disabled = true
  try {
    await getJson('/api/poll', { method: 'POST' })
    await show()
  } catch (error) {
    problem.textContent = error.message
  }
  pollButton.disabled = false
})

// A tab that nobody sees asks for nothing; once seen again, it is brought up to date.
let shownAt = performance.now()
const refreshIfDue = () => {
  if (document.visibilityState !== 'visible' || performance.now() - shownAt < REFRESH_MS) return
  shownAt = performance.now()
  show()
}
setInterval(refreshIfDue, 1_000)
document.addEventListener('visibilitychange', refreshIfDue)
show()
