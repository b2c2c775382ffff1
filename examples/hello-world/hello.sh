#!/bin/sh
# Hello World with nothing but curl: create the queue, send, receive, ack. Needs a server: npm start
set -eu
queue=${POSTBAG_URL:-http://127.0.0.1:8787}/v1/queues/hello-curl

curl -sSf -X PUT "$queue" -o /dev/null

# Send: with text/plain the body is the message.
curl -sSf "$queue/messages" -H 'content-type: text/plain' -d 'Hello World!'
echo

# Receive: wait up to 20 seconds for a message; it is ours for 30.
received=$(curl -sSf "$queue/receive" -d '{"waitSeconds":20}')
echo "$received"

# Ack: the receipt proves that the message is ours; then it is gone.
receipt=$(echo "$received" | sed 's/.*"receipt":"\([^"]*\)".*/\1/')
curl -sSf "$queue/ack" -d "{\"receipts\":[\"$receipt\"]}"
echo
