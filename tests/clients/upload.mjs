// Uploads one file by tus-js-client. Prints lines of JSON: first the upload's url, as soon as it
// is known; last what came of it.
//
// The only argument is JSON:
//   file        path of the file
//   options     of tus.Upload: endpoint, protocol, chunkSize, metadata, uploadUrl, headers, …
//   stream      true to read the file as a stream, of which nobody knows the length
//   pauseAt     stop once the server has so many bytes; the answer's url resumes it
//   terminate   true to have the upload removed once it is paused or complete
//   storage     path of a file with the URLs of unfinished uploads, one of which is resumed
//   look        path of a folder: what is in it at the moment of success?
//
// The last line: url, error (its text, or null), sent ("PATCH 204" for each answer that came),
// found (SHA-256 of each file that lay in the folder).
import { createHash } from 'node:crypto'
import { createReadStream, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { PassThrough } from 'node:stream'
import * as tus from 'tus-js-client'

const asked = JSON.parse(process.argv[2])
const sent = []
let found = []

function told(line, then) {
  process.stdout.write(`${JSON.stringify(line)}\n`, then)
}

function done(error) {
  const text = error ? String(error.message ?? error) : null
  told({ url: upload.url, error: text, sent, found }, () => process.exit(0))
}

function contents(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.parentPath.includes('/.'))
    .map((entry) => readFileSync(join(entry.parentPath, entry.name)))
    .map((content) => createHash('sha256').update(content).digest('hex'))
}

async function succeeded() {
  if (asked.look) found = contents(asked.look)
  if (asked.terminate) await tus.Upload.terminate(upload.url, upload.options)
  done()
}

// Of a file that is read as one, tus-js-client knows the length.
const file = createReadStream(asked.file)
const source = asked.stream ? file.pipe(new PassThrough()) : file

const upload = new tus.Upload(source, {
  ...asked.options,
  ...(asked.stream ? { uploadLengthDeferred: true } : {}),
  ...(asked.storage ? { urlStorage: new tus.FileUrlStorage(asked.storage) } : {}),
  onUploadUrlAvailable: () => told({ url: upload.url }),
  onAfterResponse: (req, res) => {
    sent.push(`${req.getMethod()} ${res.getStatus()}`)
  },
  onChunkComplete: (_size, accepted) => {
    if (asked.pauseAt && accepted >= asked.pauseAt) {
      upload.abort(asked.terminate).then(() => done(), done)
    }
  },
  onSuccess: () => succeeded().catch(done),
  onError: done,
})
if (asked.storage) {
  const [previous] = await upload.findPreviousUploads()
  if (previous) upload.resumeFromPreviousUpload(previous)
}
upload.start()
