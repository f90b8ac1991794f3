import type { Random } from '../../shared/random.ts'

/** Who flies. Names are not unique, as among real pilots; the id is. */
export interface Pilot {
  readonly id: string
  readonly name: string
}

// biome-ignore format: a list of names reads best in lines
const givenNames = [
  'Anna', 'Luca', 'Marie', 'Jonas', 'Chiara', 'Arjun', 'Camila', 'Emre', 'Sofia', 'Matteo', 'Léa', 'Urs',
  'Priya', 'Diego', 'Elif', 'Noah', 'Giulia', 'Théo', 'Reto', 'Kavya', 'Santiago', 'Deniz', 'Hannah', 'Bruno',
]
// biome-ignore format: as above
const familyNames = [
  'Rossi', 'Moreau', 'Zürcher', 'Sharma', 'Restrepo', 'Yılmaz', 'Keller', 'Bianchi', 'Lefèvre', 'von Allmen',
  'Thakur', 'Ospina', 'Kaya', 'Gerber', 'Ferrari', 'Dubois', 'Imhof', 'Negi', 'Hernández', 'Aydın', 'Novák',
]

/** This many pilots, of whom the last shares the first one's name. */
export function drawPilots(count: number, random: Random): Pilot[] {
  const pilots: Pilot[] = []
  const taken = new Set<string>()
  for (let number = 1; number <= count; number += 1) {
    let name = `${random.pick(givenNames)} ${random.pick(familyNames)}`
    while (taken.has(name) && taken.size < givenNames.length * familyNames.length)
      name = `${random.pick(givenNames)} ${random.pick(familyNames)}`
    taken.add(name)
    pilots.push({ id: `pilot-${String(number).padStart(3, '0')}`, name })
  }
  const first = pilots[0]
  const last = pilots.at(-1)
  if (count > 1 && first !== undefined && last !== undefined)
    pilots[count - 1] = { id: last.id, name: first.name }
  return pilots
}
