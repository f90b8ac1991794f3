/** What the network publishes, as JSON: everybody who is connected at one moment. */
export interface FeedSnapshot {
  readonly general: {
    /** ISO 8601: when it was taken. */
    readonly update_timestamp: string
    readonly connected_clients: number
  }
  readonly pilots: readonly FeedPilot[]
  readonly controllers: readonly FeedController[]
}

/** A pilot's connection. Whatever is optional is missing now and then. */
export interface FeedPilot {
  /** The member's number. */
  readonly cid: number
  /** Not unique: two pilots may fly under one callsign at the same time. */
  readonly callsign: string
  /** Degrees; 0 and 0 until the simulator has told where it is. */
  readonly latitude?: number
  readonly longitude?: number
  /** Feet. */
  readonly altitude?: number
  /** Knots. */
  readonly groundspeed?: number
  /** Degrees. */
  readonly heading?: number
  readonly flight_plan?: {
    readonly aircraft?: string
    readonly departure?: string
    readonly arrival?: string
    readonly route?: string
  }
  /** ISO 8601. A pilot who lost the connection may come back with the same time or with a new one. */
  readonly logon_time: string
  /** ISO 8601: when this record was true. */
  readonly last_updated: string
}

/** A controller's connection. */
export interface FeedController {
  readonly cid: number
  readonly name: string
  /** The position that is staffed: `YBBB_CTR`. */
  readonly callsign: string
  /** `124.700`; missing for who is connected without a frequency. */
  readonly frequency?: string
  readonly facility: string
  readonly rating: number
  readonly logon_time: string
  readonly last_updated: string
}
