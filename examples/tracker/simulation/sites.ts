/** A place where pilots take off, with the valley where they land. */
export interface Site {
  readonly name: string
  /** Degrees. */
  readonly lat: number
  readonly lon: number
  /** Metres above sea level, of the launch and of the valley. */
  readonly launchElevation: number
  readonly valleyElevation: number
  /** Metres above sea level up to which thermals reach on a usual day. */
  readonly cloudBase: number
  /** Degrees, clockwise from north: where the valley lies as seen from the launch. */
  readonly valleyBearing: number
  /** Hours that local time is ahead of UTC in August. */
  readonly utcOffset: number
}

/** Well-known free-flight sites, with the positions of their launches to a few hundred metres. */
export const sites: readonly Site[] = [
  {
    name: 'Bassano del Grappa, Italy',
    lat: 45.8215,
    lon: 11.7644,
    launchElevation: 830,
    valleyElevation: 200,
    cloudBase: 1_700,
    valleyBearing: 180,
    utcOffset: 2,
  },
  {
    name: 'Col de la Forclaz, Annecy, France',
    lat: 45.8142,
    lon: 6.2467,
    launchElevation: 1_240,
    valleyElevation: 460,
    cloudBase: 2_400,
    valleyBearing: 250,
    utcOffset: 2,
  },
  {
    name: 'Niederhorn, Interlaken, Switzerland',
    lat: 46.7107,
    lon: 7.7745,
    launchElevation: 1_930,
    valleyElevation: 570,
    cloudBase: 3_000,
    valleyBearing: 150,
    utcOffset: 2,
  },
  {
    name: 'Fiesch, Switzerland',
    lat: 46.4123,
    lon: 8.1085,
    launchElevation: 2_210,
    valleyElevation: 1_050,
    cloudBase: 3_800,
    valleyBearing: 140,
    utcOffset: 2,
  },
  {
    name: 'Babadağ, Ölüdeniz, Türkiye',
    lat: 36.5284,
    lon: 29.1853,
    launchElevation: 1_900,
    valleyElevation: 5,
    cloudBase: 2_600,
    valleyBearing: 285,
    utcOffset: 3,
  },
  {
    name: 'Bir Billing, India',
    lat: 32.0712,
    lon: 76.7385,
    launchElevation: 2_400,
    valleyElevation: 1_420,
    cloudBase: 3_600,
    valleyBearing: 195,
    utcOffset: 5.5,
  },
  {
    name: 'Roldanillo, Colombia',
    lat: 4.4155,
    lon: -76.1895,
    launchElevation: 1_780,
    valleyElevation: 930,
    cloudBase: 2_700,
    valleyBearing: 95,
    utcOffset: -5,
  },
  {
    name: 'El Peñón, Valle de Bravo, Mexico',
    lat: 19.0561,
    lon: -100.0864,
    launchElevation: 2_300,
    valleyElevation: 1_850,
    cloudBase: 3_700,
    valleyBearing: 215,
    utcOffset: -6,
  },
]
