/* Every size and count that is limited, in one place. The database holds the same bounds (as constraints of tables and domains);
 * here they are checked early, with a clear error, and published in the OpenAPI document. */

/** Most messages in one send, receive, ack, nack or extend. */
export const maxBatch = 1000

/** Most bytes of one message body, as it is stored: 1 MiB. */
export const maxBodyBytes = 1_048_576

/** Most bytes of one HTTP request: a batch of bodies and their JSON envelope, 16 MiB. */
export const maxRequestBytes = 16_777_216

/** Characters of bodies after which an answer takes no more messages: 64 Mi. (The text of an answer has a bound, and so has memory.) */
export const maxAnswerLength = 67_108_864

/** Most messages of one receive with autoAck: all of them are in its answer, because what it takes is gone. */
export const maxAutoAcked = 256

/** Most bytes of all headers of one message, as JSON. */
export const maxHeadersBytes = 16_384

/** Most characters of a message's type or content type. */
export const maxTypeLength = 255

/** Most characters of a dedup id. */
export const maxDedupIdLength = 128

/** Most characters of a routing key, also of the pattern of a binding. */
export const maxRoutingKeyLength = 255

/** Most headers that a binding asks for. */
export const maxBindingHeaders = 32

/** Highest weight of a binding of a hash exchange. */
export const maxWeight = 100

/** Most characters of a group's name. */
export const maxGroupLength = 128

/** Most characters of a correlation id, or of what says where a reply goes. */
export const maxCorrelationIdLength = 255
export const maxReplyToLength = 255

/** Shortest and longest time in seconds, from the request on, in which its reply may come and be fetched: a second, 7 days. */
export const minKeepSeconds = 1
export const maxKeepSeconds = 604_800

/** Longest lease in seconds: 12 hours. */
export const maxLeaseSeconds = 43_200

/** Longest delay in seconds, also the longest that a retry policy leads to: a year. */
export const maxDelaySeconds = 31_536_000

/** Shortest and longest time in seconds that a message can be worth something: a millisecond, a year. */
export const minTtlSeconds = 0.001
export const maxTtlSeconds = 31_536_000

/** Shortest and longest time in seconds that a dead letter is kept: a second, a year. */
export const minRetentionSeconds = 1
export const maxRetentionSeconds = 31_536_000

/** Longest time in seconds in which a dedup id is remembered: a day. */
export const maxDedupWindowSeconds = 86_400

/** Longest wait of one receive in seconds: platforms cut requests at about 30. */
export const maxWaitSeconds = 20

/** Longest stream, and longest silence in one, in seconds. */
export const maxStreamSeconds = 300
export const maxHeartbeatSeconds = 60

/** Highest priority a queue may be configured for. */
export const maxPriority = 9

/** Highest number of attempts that may be configured. */
export const maxAttempts = 1000

/** Most messages and bytes that a queue may be limited to: a thousand million, and 2^50. */
export const maxQueueMessages = 1_000_000_000
export const maxQueueBytes = 1_125_899_906_842_624

/** Most messages in flight that a queue may be limited to. */
export const maxInFlight = 100_000

/** Lowest and highest rate in messages per second, and the most of them at once. */
export const minRatePerSecond = 0.001
export const maxRatePerSecond = 1_000_000
export const maxRateBurst = 1_000_000

/** Most messages of one call of maintain. */
export const maxMaintained = 100_000

/** Most characters of a text to search for. */
export const maxSearchLength = 1000

/** Highest age in seconds to search for: a hundred years. */
export const maxAgeSeconds = 3_153_600_000

/** Characters of a nack's error text that are kept. */
export const maxErrorLength = 4000

/** What an endpoint may be called: its queue's name has nine characters more. */
export const endpointNamePattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,70}$/

export const endpointNameRule = '1 to 71 letters, digits, ".", "_" and "-", starting with a letter or digit'

/** Most event types of an endpoint. */
export const maxEventTypes = 100

/** Most pauses between the attempts of a delivery, and the longest, in seconds: a week. */
export const maxRetries = 50
export const maxRetrySeconds = 604_800

/** The time that an attempt may take, in seconds. */
export const minEndpointTimeoutSeconds = 1
export const maxEndpointTimeoutSeconds = 60

/** For how long one call of /v1/deliver begins deliveries at most, in seconds. */
export const maxDeliverSeconds = 60

/** Most characters of an endpoint's description, and bytes of its metadata and its filter as JSON. */
export const maxDescriptionLength = 1000
export const maxMetadataBytes = 4096
export const maxFilterBytes = 4096

/** Most characters of the name of an application, and of a secret; what they must be besides is said elsewhere. */
export const maxApplicationLength = 128
export const maxSecretLength = 200

/** Longest time from the making of a token for a portal to its end, in seconds: a week. */
export const maxPortalSeconds = 604_800

/** Longest time that a secret signs beside the one that takes its place, in seconds: a week. */
export const maxOverlapSeconds = 604_800

/** What a queue may be called. */
export const queueNamePattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$/

/** The rule above in words, for errors. */
export const queueNameRule = '1 to 80 letters, digits, ".", "_" and "-", starting with a letter or digit'

/** What a policy's pattern may be, and the same in words: the name of a queue in which * stands for any characters. */
export const queuesPattern = /^[A-Za-z0-9._*-]{1,80}$/
export const queuesRule = '1 to 80 letters, digits, ".", "_", "-" and "*" (which stands for any characters)'

/** Most exchanges, queues, policies and bindings of one import, in all. (Held by postbag.import_definitions.) */
export const maxImported = 10_000

/** Most policies. They are few, so that a queue can be looked up in all of them. (Held by postbag.set_policy.) */
export const maxPolicies = 100

/** Most characters of a webhook's id. */
export const maxWebhookIdLength = 255

/** Most secrets that sign one webhook, or that a receiver tries. (Held by postbag.rotate_secret.) */
export const maxWebhookSecrets = 10

/** Most signatures that a receiver looks at. */
export const maxWebhookSignatures = 32

/** Most bytes of a webhook's body that a receiver reads, if it says nothing else: 4 MiB. */
export const maxWebhookBodyBytes = 4_194_304

/** Most characters of a webhook's URL. */
export const maxUrlLength = 2048

/** Most headers that an endpoint adds to its requests, and most bytes of them. */
export const maxEndpointHeaders = 32
export const maxEndpointHeadersBytes = 8192

/** Most bytes of the head of a receiver's answer, and most interim answers (1xx) before it. */
export const maxAnswerHeadBytes = 16_384
export const maxInterimAnswers = 8

/** What is kept of a receiver's answer: so many headers, bytes of headers, and bytes of the body. */
export const keptHeaders = 64
export const keptHeaderBytes = 8192
export const keptBodyBytes = 4096

/** Most bytes of an answer's body that are read so that its connection can be used again. A longer one costs the connection. */
export const maxReadBytes = 65_536

/** Most addresses of a receiver's name that are tried in one attempt. */
export const maxTriedAddresses = 4

/** Longest wait that a receiver may ask for, in seconds: a day. */
export const maxRetryAfterSeconds = 86_400

/** Most secrets of webhooks that a process keeps opened, and ready to sign and to verify with. */
export const maxKeptSecrets = 10_000

/** Bytes of bodies that a deliverer has under way when it claims no more. */
export const maxBytesUnderWay = 67_108_864

/** Most endpoints that a deliverer remembers because they have answered lately, or because their hosts take no more. */
export const maxTrustedEndpoints = 1000
