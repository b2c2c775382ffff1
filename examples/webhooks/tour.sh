#!/bin/sh
# Webhooks from end to end: two subscribers, of which one fails; an order in a transaction; the attempts; another secret; what has failed is
# delivered anew. Needs a server that delivers (npm start), and its database: DATABASE_URL="$(cat .postbag/url)" examples/webhooks/tour.sh
set -eu
cd "$(dirname "$0")/../.."
# The same as "npx postbag" and "npm run example", without what these take to start.
PATH="$PWD/node_modules/.bin:$PATH"
postbag() { node src/cli/main.ts "$@"; }
example() { exec node examples/run.ts "$@"; }

folder=$(mktemp -d)
touch "$folder/good" "$folder/bad"
example webhooks/subscriber "$folder/good" >"$folder/good.log" & good=$!
example webhooks/subscriber "$folder/bad" broken >"$folder/bad.log" & bad=$!
trap 'kill $good $bad 2>/dev/null || true; rm -r "$folder"' EXIT

# (With DATABASE_URL the commands would do it all in the database; here the server is asked, which has the key of the secrets.)
export POSTBAG_URL="${POSTBAG_URL:-http://127.0.0.1:8787}"
secret_in() { echo "$1" | sed 's/.*"secret":"\([^"]*\)".*/\1/'; }
# Wait until a command prints something that fits.
until_prints() { fits=$1; shift; tries=0; until "$@" | grep -q "$fits"; do tries=$((tries + 1)); test $tries -lt 100; sleep 0.2; done; }
until_prints http cat "$folder/good.log"
until_prints http cat "$folder/bad.log"

echo '1. Two endpoints of one exchange. Each is told its secret, once.'
postbag exchange declare example-shop --type topic
for name in good bad; do
  curl -sS -X DELETE "$POSTBAG_URL/v1/endpoints/example-$name" >"$folder/gone" # (of the last tour)
  told=$(postbag endpoint set "example-$name" "$(head -1 "$folder/$name.log")" --exchange example-shop --event 'order.*' --retries 1s --json)
  secret_in "$told" >"$folder/$name"
done

echo '2. An order and its event in one transaction; and one that is rolled back.'
(example webhooks/shop)

echo '3. The attempts: one arrived; the other failed, and failed again.'
until_prints delivered curl -sSf "$POSTBAG_URL/v1/endpoints/example-good/attempts"
until_prints '"number":2' curl -sSf "$POSTBAG_URL/v1/endpoints/example-bad/attempts"
postbag endpoint attempts example-bad

echo '4. Another secret for the good one. For a day both sign.'
told=$(postbag endpoint rotate example-good --json)
secret_in "$told" >"$folder/good"
postbag endpoint test example-good
until_prints '"type": *"test"' cat "$folder/good.log"

echo '5. The other one is mended, and gets what had failed for good.'
curl -sSf -X POST "$(head -1 "$folder/bad.log")mend"
postbag endpoint recover example-bad
until_prints took cat "$folder/bad.log"

echo '6. What they took:'
cat "$folder/good.log" "$folder/bad.log" | grep took
