#!/usr/bin/env bash
# Makes the sample media of the simulator anew, in the folder of this script. Needs ffmpeg with
# libx264, libx265, libmp3lame and libwebp; users never need it, the files are kept in the repository.
# After a run, compare the durations that are printed at the end with CLIPS in ../media.py.
set -euo pipefail
cd "$(dirname "$0")"
rm -f -- *.mp4 *.jpg *.webp *.png *.mp3 *.m4a

ff() { ffmpeg -v error -y -bitexact "$@"; }
plain=(-map_metadata -1 -fflags +bitexact -flags:v +bitexact -flags:a +bitexact)

# clip NAME SECONDS PITCH MOOV(front|end) HDCODEC SOURCE
clip() {
  local name=$1 seconds=$2 pitch=$3 moov=$4 codec=$5 source=$6 place=()
  [ "$moov" = front ] && place=(-movflags +faststart)
  local tone=(-f lavfi -i "sine=frequency=$pitch:sample_rate=44100:duration=$seconds")
  local sound=(-c:a aac -b:a 20k -ac 1)
  ff -f lavfi -i "$source" "${tone[@]}" -t "$seconds" -vf scale=180:320,format=yuv420p "${plain[@]}" \
    -c:v libx264 -preset veryslow -crf 36 -g 60 "${sound[@]}" "${place[@]}" "$name.mp4"
  local hd=(-c:v libx264 -preset veryslow -crf 31)
  [ "$codec" = hevc ] && hd=(-c:v libx265 -preset slow -crf 31 -tag:v hvc1 -x265-params log-level=error)
  ff -f lavfi -i "$source" "${tone[@]}" -t "$seconds" -vf scale=270:480,format=yuv420p "${plain[@]}" \
    "${hd[@]}" -g 60 "${sound[@]}" "${place[@]}" "$name-hd.mp4"
}

clip amber 4 262 front h264 "testsrc2=size=270x480:rate=12"
clip birch 5.5 294 end h264 "testsrc=size=270x480:rate=10"
clip coral 6 330 front hevc "mandelbrot=size=270x480:rate=8:start_scale=2:end_scale=0.8:maxiter=200"
clip dune 7 349 front h264 "gradients=size=270x480:rate=12:c0=navy:c1=orange:speed=0.02"
clip ember 8.4 392 end h264 "smptehdbars=size=270x480:rate=10,hue=H=t"
clip fjord 9 440 front hevc "testsrc2=size=270x480:rate=6,hue=h=120"
clip grove 10 494 end h264 "gradients=size=270x480:rate=10:c0=darkgreen:c1=white:speed=0.03"
clip haze 12 523 front h264 "rgbtestsrc=size=270x480:rate=6,hue=h=30*t"

still() { ff -f lavfi -i "$2" -frames:v 1 "${plain[@]}" "${@:3}" "$1"; }
still one.jpg "testsrc2=size=360x640" -q:v 14
still two.jpg "mandelbrot=size=360x640" -q:v 18
still three.jpg "smptehdbars=size=360x640" -q:v 10
still four.jpg "gradients=size=360x640:c0=purple:c1=yellow" -q:v 8
still five.webp "testsrc=size=360x640" -c:v libwebp -quality 50
still six.webp "gradients=size=360x640:c0=teal:c1=pink" -c:v libwebp -quality 60
still seven.png "rgbtestsrc=size=90x160" -pred mixed

tune=(-f lavfi -i "sine=frequency=660:beep_factor=4:sample_rate=44100:duration=5")
hum=(-f lavfi -i "sine=frequency=220:beep_factor=2:sample_rate=44100:duration=7")
ff "${tune[@]}" "${plain[@]}" -c:a libmp3lame -b:a 32k -ac 1 -id3v2_version 0 -write_xing 0 tune.mp3
ff "${hum[@]}" "${plain[@]}" -c:a libmp3lame -b:a 32k -ac 1 -id3v2_version 0 -write_xing 0 hum.mp3
ff "${tune[@]}" "${plain[@]}" -c:a aac -b:a 24k -ac 1 -f ipod tune.m4a

for file in *.mp4 *.mp3 *.m4a; do
  printf '%s %s\n' "$file" "$(ffprobe -v error -show_entries format=duration -of csv=p=0 "$file")"
done
