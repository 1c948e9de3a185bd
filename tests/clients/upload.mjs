// Uploads one file by tus-js-client, and prints what came of it as one line of JSON.
//
// The only argument is JSON:
//   file        path of the file
//   options     of tus.Upload: endpoint, protocol, chunkSize, metadata, uploadUrl, headers, …
//   stream      true to read the file as a stream, of which nobody knows the length
//   pauseAt     stop once the server has so many bytes; the answer's url resumes it
//   terminate   true to have the upload removed once it is paused or complete
//
// The answer: url, error (its text, or null), sent ("PATCH 204" for each answer that came).
import { createReadStream } from 'node:fs'
import process from 'node:process'
import { PassThrough } from 'node:stream'
import * as tus from 'tus-js-client'

const asked = JSON.parse(process.argv[2])
const sent = []

function done(error) {
  const text = error ? String(error.message ?? error) : null
  process.stdout.write(`${JSON.stringify({ url: upload.url, error: text, sent })}\n`, () =>
    process.exit(0),
  )
}

async function end() {
  if (asked.terminate) await tus.Upload.terminate(upload.url, upload.options)
  done()
}

// Of a file that is read as one, tus-js-client knows the length.
const file = createReadStream(asked.file)
const source = asked.stream ? file.pipe(new PassThrough()) : file

const upload = new tus.Upload(source, {
  ...asked.options,
  ...(asked.stream ? { uploadLengthDeferred: true } : {}),
  onAfterResponse: (req, res) => {
    sent.push(`${req.getMethod()} ${res.getStatus()}`)
  },
  onChunkComplete: (_size, accepted) => {
    if (asked.pauseAt && accepted >= asked.pauseAt) upload.abort().then(end, done)
  },
  onSuccess: () => end().catch(done),
  onError: done,
})
upload.start()
