// A chart as a picture, with its title and legend, for a report or a ticket.

import { FONT } from "./plot";
import { colourOf } from "./theme";

export interface Entry {
  name: string;
  /** A custom property, without its dashes. */
  colour: string;
  values: string;
}

/** Height of title and legend, CSS pixels. */
const HEAD = 58;
const MARGIN = 16;

/** The chart as it is drawn, below its title and legend. */
export function pictureOf(plot: HTMLCanvasElement, title: string, legend: readonly Entry[]): HTMLCanvasElement {
  const ratio = devicePixelRatio;
  const canvas = document.createElement("canvas");
  canvas.width = plot.width;
  canvas.height = plot.height + HEAD * ratio;
  const context = canvas.getContext("2d");
  if (context === null) return canvas;
  context.fillStyle = colourOf("panel");
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(plot, 0, HEAD * ratio);
  context.scale(ratio, ratio);
  context.font = `600 13px ${FONT}`;
  context.fillStyle = colourOf("ink");
  context.fillText(title, MARGIN, 22);
  context.font = `11px ${FONT}`;
  let x = MARGIN;
  for (const { name, colour, values } of legend) {
    context.fillStyle = colourOf(colour);
    context.fillRect(x, 38, 10, 10);
    context.fillStyle = colourOf("ink");
    const text = `${name} ${values}`;
    context.fillText(text, x + 15, 47);
    x += 15 + context.measureText(text).width + 18;
  }
  return canvas;
}

/** Gives the picture to the person as a file. */
export function savePicture(canvas: HTMLCanvasElement, name: string): void {
  canvas.toBlob((picture) => {
    if (picture === null) return;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(picture);
    link.download = name;
    link.click();
    URL.revokeObjectURL(link.href);
  });
}
