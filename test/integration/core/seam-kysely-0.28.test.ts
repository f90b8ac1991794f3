import { describeSeamOnKysely } from './seam-kysely.suite.ts'

describeSeamOnKysely('0.28')
