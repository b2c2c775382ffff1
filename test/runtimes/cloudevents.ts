/* The CloudEvents SDK for JavaScript. */
export { CloudEvent, type CloudEventV1, HTTP, type Message } from 'cloudevents'
