/**
 * The attributes that are read, by tag (PS3.6): those that describe samples, and none that describe a patient. All
 * others are skipped, so they cannot reach a message or a log. The value representation is for files that omit it.
 * Group 0029 and (0019,100a) are Siemens's private image header; its series header, which names people, is not read.
 */
export const ATTRIBUTES = {
  transferSyntax: [0x00020010, "UI"],
  imageType: [0x00080008, "CS"],
  sopClass: [0x00080016, "UI"],
  sopInstance: [0x00080018, "UI"],
  modality: [0x00080060, "CS"],
  sliceThickness: [0x00180050, "DS"],
  spacingBetweenSlices: [0x00180088, "DS"],
  imagesInMosaic: [0x0019100a, "US"],
  series: [0x0020000e, "UI"],
  position: [0x00200032, "DS"],
  orientation: [0x00200037, "DS"],
  planePosition: [0x00209113, "SQ"],
  planeOrientation: [0x00209116, "SQ"],
  concatenation: [0x00209161, "UI"],
  dimensionOrganization: [0x00209311, "CS"],
  samplesPerPixel: [0x00280002, "US"],
  photometric: [0x00280004, "CS"],
  planarConfiguration: [0x00280006, "US"],
  numberOfFrames: [0x00280008, "IS"],
  rows: [0x00280010, "US"],
  columns: [0x00280011, "US"],
  pixelSpacing: [0x00280030, "DS"],
  bitsAllocated: [0x00280100, "US"],
  bitsStored: [0x00280101, "US"],
  highBit: [0x00280102, "US"],
  pixelRepresentation: [0x00280103, "US"],
  rescaleIntercept: [0x00281052, "DS"],
  rescaleSlope: [0x00281053, "DS"],
  redDescriptor: [0x00281101, "US"],
  greenDescriptor: [0x00281102, "US"],
  blueDescriptor: [0x00281103, "US"],
  redPalette: [0x00281201, "OW"],
  greenPalette: [0x00281202, "OW"],
  bluePalette: [0x00281203, "OW"],
  modalityTable: [0x00283000, "SQ"],
  privateCreator10: [0x00290010, "LO"],
  privateCreator11: [0x00290011, "LO"],
  privateCreator12: [0x00290012, "LO"],
  privateImage10: [0x00291010, "OB"],
  privateImage11: [0x00291110, "OB"],
  privateImage12: [0x00291210, "OB"],
  pixelMeasures: [0x00289110, "SQ"],
  pixelTransformation: [0x00289145, "SQ"],
  zOffset: [0x0040074a, "DS"],
  imagedWidth: [0x00480001, "FL"],
  imagedHeight: [0x00480002, "FL"],
  matrixColumns: [0x00480006, "UL"],
  matrixRows: [0x00480007, "UL"],
  opticalPaths: [0x00480105, "SQ"],
  objectivePower: [0x00480112, "DS"],
  planePositionSlide: [0x0048021a, "SQ"],
  columnPosition: [0x0048021e, "SL"],
  rowPosition: [0x0048021f, "SL"],
  numberOfOpticalPaths: [0x00480302, "UL"],
  numberOfFocalPlanes: [0x00480303, "UL"],
  sharedGroups: [0x52009229, "SQ"],
  perFrameGroups: [0x52009230, "SQ"],
  extendedOffsets: [0x7fe00001, "OV"],
  extendedLengths: [0x7fe00002, "OV"],
} as const satisfies Record<string, readonly [number, string]>;

export type AttributeName = keyof typeof ATTRIBUTES;

export const PIXEL_DATA = 0x7fe00010;
/** Floating-point samples, instead of `PIXEL_DATA`. */
export const FLOAT_PIXEL_DATA: ReadonlySet<number> = new Set([0x7fe00008, 0x7fe00009]);

export const ATTRIBUTE_BY_TAG: ReadonlyMap<number, AttributeName> = new Map(
  Object.entries(ATTRIBUTES).map(([name, [tag]]) => [tag, name as AttributeName]),
);
